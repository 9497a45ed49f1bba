// What a layer of an image changes, as the folder of an overlay.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "container/layer/tar_reader.h"

namespace hull::container {

/// A file, folder or other inode. Hard links are several names of one node.
struct LayerNode {
    uint32_t mode = 0;  ///< with its type, as stat(2) has it
    uint32_t uid = 0;
    uint32_t gid = 0;
    int64_t mtime = 0;
    uint32_t mtime_ns = 0;
    uint32_t major = 0;  ///< of a device; 0:0 is overlayfs's mark of a name that is gone
    uint32_t minor = 0;
    uint64_t size = 0;                                             ///< of a file: bytes
    uint32_t first_block = 0;                                      ///< and where they are in the layer's disk
    std::string target;                                            ///< of a symbolic link
    std::map<std::string, std::string> attributes;                 ///< by their whole names
    std::map<std::string, std::shared_ptr<LayerNode>> children{};  ///< of a folder
};

/// The entries of a layer's archive, applied one after the other (OCI image-spec 1.1, layer.md; overlayfs in
/// Linux's Documentation/filesystems): whiteouts become devices 0:0, opaque whiteouts the attribute
/// trusted.overlay.opaque. A later entry of a name takes the place of an earlier one; a folder of one that is
/// there keeps what is in it. What lies behind a symbolic link of the layer's own is followed, below the
/// layer's root; folders that no entry made belong to root, with mode 0755, and cover those below. Nothing
/// leads out. One thread.
class LayerTree {
  public:
    /// Entries beyond so many, and attributes of one beyond what Linux takes, are refused.
    static constexpr size_t kMostEntries = 4'000'000;

    LayerTree();

    /// Puts an entry in. A file's node is answered, so that its content can be told of; nothing otherwise.
    /// Throws Error (bad_file) where the entry leads out or cannot be; the tree is of no use then.
    LayerNode* add(TarEntry entry);

    [[nodiscard]] const LayerNode& root() const { return *root_; }

  private:
    using Node = std::shared_ptr<LayerNode>;

    /// The folder that these names lead to, the last one first; made where it is missing. None where there
    /// is something else.
    Node folder_at(std::vector<std::string> names);
    Node find(const std::string& path);
    static void take_away(LayerNode& folder, const std::string& name);
    static Node make_node(TarEntry& entry);
    static Node make_folder(TarEntry& entry, const Node& before);

    Node root_;
    size_t entries_ = 0;
};

}  // namespace hull::container
