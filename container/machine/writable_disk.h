// The disk that a container writes to.
#pragma once

#include <cstdint>
#include <filesystem>

namespace hull::container {

/// An empty ext4 disk of 10 GiB, sparse and without a journal, to be put beneath a throw-away layer. It is
/// made, by the host's mke2fs, where the folder `root` has none yet. Throws Error (bad_file, no_resources).
std::filesystem::path empty_disk(const std::filesystem::path& root);

/// Such a disk of its own at `path`, where nothing is, with a journal where `has_journal`: it is whole then
/// whenever its guest ends. A copy of one that is made in `root` where that has none yet. It is not synced.
/// Throws Error (bad_file, no_resources), and leaves nothing then.
void make_disk(const std::filesystem::path& root, const std::filesystem::path& path, bool has_journal);

/// An empty ext4 disk of `bytes`, at least 64 MiB, with a journal at `path`, where nothing is: what a volume
/// is whose files are on a disk. It is synced. Throws as make_disk().
void make_volume_disk(const std::filesystem::path& path, uint64_t bytes);

}  // namespace hull::container
