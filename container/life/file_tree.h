// Trees of files that guests have written, and may have made to hurt whoever walks them.
#pragma once

#include <cstdint>
#include <filesystem>

namespace hull::container {

/// Removes a folder with all that is in it, however deep, and follows no link. Answers how many bytes that
/// frees. Holds few descriptors and little memory, whatever is there. Throws Error (no_resources) where
/// something cannot be removed. Nobody else changes the tree meanwhile. Any thread.
uint64_t remove_tree(const std::filesystem::path& folder);

/// How many bytes a folder with what is in it, or a file, takes on the disk, as far as that can be read: what
/// is deeper than a path can say is not counted. Any thread.
uint64_t tree_size(const std::filesystem::path& folder);

}  // namespace hull::container
