// COPY and ADD.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "container/build/layer_changes.h"
#include "container/layer/file_tree.h"

namespace hull::container {

/// A file or folder that is to be copied.
struct CopySource {
    std::string name;      ///< as it was written, but clean: its last name is the copy's
    TreeFile file;         ///< where that leads
    std::string hash;      ///< "file:…" or "dir:…": of names, owners, modes and contents, not of times
    const FileTree* tree;  ///< in which it is
};

/// What sources mean, by Docker's rules: paths from the tree's root on, patterns in them. `is_context` is for
/// the words of errors. Throws ApiError (400), with dockerd's words behind "COPY failed: ".
std::vector<CopySource> find_sources(const FileTree& tree, const std::vector<std::string>& sources,
                                     bool is_context);

/// What one path means, without patterns. Throws as above.
CopySource find_source(const FileTree& tree, const std::string& path, bool is_context);

/// Of all of them together, as dockerd's caches have it.
std::string hash_of(const std::vector<CopySource>& sources);

struct CopyOptions {
    std::string destination;       ///< absolute; a slash at its end means a folder
    std::optional<Owner> owner;    ///< none: those of the files
    std::optional<uint32_t> mode;  ///< for all files and folders; none: theirs
    bool unpacks = false;          ///< archives, as ADD does
};

/// Throws ApiError (400) and Error.
void copy_source(LayerChanges& changes, const CopySource& source, const CopyOptions& options);

/// "USER[:GROUP]" by names or numbers, as the image's own files say. Throws ApiError (400).
Owner find_owner(const FileTree& image, const std::string& text);

}  // namespace hull::container
