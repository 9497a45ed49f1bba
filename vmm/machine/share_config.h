// What the user says of a shared folder (--share).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hull {

/// A folder of the host's that the guest can mount.
struct ShareConfig {
    std::string tag;             ///< the name by which the guest mounts it
    std::filesystem::path path;  ///< the folder
    bool readonly = false;       ///< for the guest

    /// "tag=T,path=DIR[,readonly]", as on the command line; a comma in T or DIR is written twice. Throws
    /// Error (usage).
    static ShareConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
};

}  // namespace hull
