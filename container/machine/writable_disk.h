// The disk that a container writes to.
#pragma once

#include <filesystem>

namespace hull::container {

/// An empty ext4 disk of 10 GiB, sparse and without a journal, to be put beneath a throw-away layer. It is
/// made, by the host's mke2fs, where the folder `root` has none yet. Throws Error (bad_file, no_resources).
std::filesystem::path empty_disk(const std::filesystem::path& root);

}  // namespace hull::container
