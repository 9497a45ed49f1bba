// What a guest is shown of the host's files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hull {

/// Files and folders of the host's that the guest sees in one folder, which it can mount and only read. They
/// are shown by hull-file-server, which sees nothing of the guest's memory, as a vhost-user back end does.
/// Not on the command line of `hull boot`.
struct ViewConfig {
    std::string tag;  ///< the name by which the guest mounts it

    /// A file or folder of the host's, and its place in the folder, without a slash before it.
    struct Part {
        std::filesystem::path source;
        std::string place;
    };
    /// What is in the folder. A part that is a symbolic link is one for the guest too. Parts whose source is
    /// missing are left out.
    std::vector<Part> parts;
};

}  // namespace hull
