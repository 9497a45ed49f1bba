// Files and block devices of the host that a machine has for disks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "devices/block/partition_table.h"

namespace hull::virtio {

/// The lock by flock(2) of an open file, given up when this is destroyed: closing the file does not do that
/// at once, since a ring that knew it gives it up in the background.
class DiskLock {
  public:
    DiskLock() = default;
    /// Takes over the lock; `fd` is a duplicate of what was locked.
    explicit DiskLock(UniqueFd fd) : fd_{std::move(fd)} {}
    DiskLock(DiskLock&& other) noexcept = default;
    DiskLock& operator=(DiskLock&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    DiskLock(const DiskLock&) = delete;
    DiskLock& operator=(const DiskLock&) = delete;
    ~DiskLock();

    /// What is locked; -1 where nothing is.
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    UniqueFd fd_;
};

/// An image that was opened for a machine, with what is known of it at that moment.
struct DiskImage {
    std::vector<UniqueFd> files;  ///< the disk; or its partitions, where there is a table
    std::shared_ptr<const PartitionTable> table;
    uint64_t size = 0;          ///< bytes, a multiple of block_size and above zero
    uint32_t block_size = 512;  ///< the least that can be read or written, a power of two from 512 to 4096
    uint32_t memory_alignment = 1;  ///< of what is read into or written from, a power of two up to 4096
    UniqueFd layer;                 ///< takes what is written, where that is to be thrown away
    bool readonly = false;
    std::vector<DiskLock> locks;
};

/// What a machine does with an image.
enum class DiskUse {
    write,
    read,
    overlay,  ///< it may write, but the image stays as it is
};

/// Opens a regular file or a block device and locks it against other machines (flock(2)): one alone may write
/// to it, several may read it. With `direct` the host's page cache is left out. Throws Error (bad_file) where
/// it is missing, not permitted, neither, locked, empty, not made of whole blocks, or cannot be used without
/// the cache; (no_resources) where there is no room for a layer, which is made in $TMPDIR or /var/tmp and has
/// no name.
DiskImage open_disk_image(const std::filesystem::path& path, DiskUse use, bool direct);
/// The same for several files, 1 to PartitionTable::kMostPartitions of them, each of which is a partition of
/// one disk. `name` is the disk's.
DiskImage open_joined_image(std::span<const std::filesystem::path> paths, std::string_view name, DiskUse use,
                            bool direct);

}  // namespace hull::virtio
