// What a sandbox's command has for its root instead of the host's programs (hull sandbox --image).
#pragma once

#include <filesystem>
#include <string>

namespace hull {

/// A file that holds a whole root: an archive, which the guest unpacks, or the image of a file system, which
/// the guest mounts. The host looks at the first bytes and no further.
struct RootImage {
    std::string file_system;  ///< as mount(2) names it; empty for an archive

    [[nodiscard]] bool is_archive() const { return file_system.empty(); }
    /// Throws Error (bad_file) where there is no such file, it may not be read, or it is neither.
    static RootImage of(const std::filesystem::path& path);
};

}  // namespace hull
