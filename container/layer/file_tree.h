// Files that a build copies from, wherever they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "container/layer/tar_reader.h"

namespace hull::container {

/// A file, folder or something else in a tree.
struct TreeFile {
    TarEntry entry;  ///< its path is from the root on, without a slash before or behind it: "" is the root
    uint64_t inode = 0;  ///< the same of several names of one file; 0: it has but one
    uint64_t place = 0;  ///< by which the tree finds it
};

/// A folder with all that is in it. Names in a path are parted by single slashes and are neither "." nor
/// ".."; nothing is followed, nothing leads out. Everything throws Error (bad_file) where the tree is broken.
/// One thread.
class FileTree {
  public:
    FileTree() = default;
    FileTree(const FileTree&) = delete;
    FileTree& operator=(const FileTree&) = delete;
    virtual ~FileTree() = default;

    /// What a path names; none where there is nothing, or something on the way is no folder.
    [[nodiscard]] virtual std::optional<TreeFile> look(const std::string& path) const = 0;
    /// What is in a folder, by name.
    [[nodiscard]] virtual std::vector<std::string> names(const std::string& path) const = 0;
    /// What a file has, from its beginning.
    [[nodiscard]] virtual ByteSource open(const TreeFile& file) const = 0;
};

/// The names between slashes, from the last to the first, without empty ones and ".".
std::vector<std::string> names_backwards(std::string_view path);
/// "a/b" of "/a//./b/"; what ".." leads out of the root stays there.
std::string clean_path(std::string_view path);
/// "a/b" of "a" and "b", "b" of "" and "b".
std::string joined_path(const std::string& folder, const std::string& name);
/// What is before the last name, and that.
std::string folder_of(const std::string& path);
std::string name_of(const std::string& path);

/// Where a path leads when symbolic links are followed with the tree's root as "/", the last one, too. What
/// is not there is taken as it is written. Throws Error (bad_file) where links go in a circle.
std::string resolve_path(const FileTree& tree, const std::string& path);

}  // namespace hull::container
