// Writes a file system image of EROFS: a layer's disk, which guests mount and cannot write to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "container/layer/layer_tree.h"

namespace hull::container {

/// An image without compression, of blocks of 4 KiB (Linux, Documentation/filesystems/erofs.rst and
/// fs/erofs/erofs_fs.h): files' contents first, in the order in which they come, so that an archive is turned
/// into one in one pass; then the inodes, with small folders, symbolic links and attributes beside them; then
/// large folders. Any kernel from 5.4 on mounts it. One thread.
class ErofsWriter {
  public:
    static constexpr uint32_t kBlock = 4096;

    /// `file` is an empty file, to be written to from its beginning and to outlive this. An image larger than
    /// `most_bytes` is refused.
    ErofsWriter(int file, uint64_t most_bytes) : file_{file}, most_bytes_{most_bytes} {}

    /// The content of this file follows by append(); its node learns where that is. Both throw Error
    /// (no_resources where the host's disk is full; bad_file where the image would be too large).
    void begin_content(LayerNode& node);
    void append(std::span<const std::byte> bytes);

    /// Writes everything else, once, and answers the image's size in bytes. Throws Error.
    uint64_t finish(const LayerNode& root);

  private:
    void append_zeros(uint64_t bytes);
    void begin_block();
    void write_out();
    [[nodiscard]] uint64_t size() const { return written_ + waiting_.size(); }

    int file_;
    uint64_t most_bytes_;
    uint64_t written_ = 0;
    std::vector<std::byte> waiting_ = std::vector<std::byte>(kBlock);  // the first is the superblock's
};

}  // namespace hull::container
