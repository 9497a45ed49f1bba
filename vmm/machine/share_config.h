// What the user says of a shared folder (--share).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hull {

/// A folder of the host's that the guest can mount, or several files and folders in one that the guest finds
/// in it by their numbers, from 1 on.
struct ShareConfig {
    struct Part {
        std::filesystem::path path{};
        bool readonly = false;  ///< for the guest
    };
    static constexpr size_t kMostParts = 256;

    std::string tag;             ///< the name by which the guest mounts it
    std::filesystem::path path;  ///< the folder; empty: there are parts
    std::vector<Part> parts{};
    bool readonly = false;  ///< for the guest, all of it
    bool cached = false;    ///< the guest may believe for a moment what it was told of files

    /// "tag=T,path=DIR[,readonly][,cached]", or "tag=T" and ",part=PATH" or ",readonly-part=PATH" for each
    /// part, as on the command line; a comma in T, DIR or PATH is written twice. Throws Error (usage).
    static ShareConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
};

}  // namespace hull
