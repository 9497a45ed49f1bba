// The partition table of a disk that is made of several files (UEFI 2.10, 5.3 "GUID Partition Table Disk
// Layout").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hull::virtio {

/// A GPT with a protective MBR, made in memory, and where it has its partitions. Each begins at a multiple of
/// 1 MiB; what is between them is zeros. The same arguments give the same bytes, UUIDs included. Not changed
/// once it is made: any thread.
class PartitionTable {
  public:
    static constexpr size_t kMostPartitions = 128;

    struct Partition {
        uint64_t start;  ///< bytes, a multiple of 1 MiB
        uint64_t size;   ///< bytes
    };

    /// For partitions of these sizes (1 to kMostPartitions of them, multiples of `block_size`, above zero),
    /// on a disk whose blocks are of `block_size` bytes (a power of two from 512 to 4096). UUIDs come from
    /// `name`, which each disk of a machine has its own of.
    PartitionTable(std::span<const uint64_t> sizes, uint32_t block_size, std::string_view name);

    /// Of the whole disk, in bytes: a multiple of 1 MiB.
    [[nodiscard]] uint64_t disk_size() const { return disk_size_; }
    [[nodiscard]] std::span<const Partition> partitions() const { return partitions_; }
    /// Fills `data` with what the disk has from `offset` on, where no partition is.
    void read(uint64_t offset, std::span<std::byte> data) const;

  private:
    std::vector<Partition> partitions_;
    uint64_t disk_size_ = 0;
    std::vector<std::byte> front_;  // from the disk's first byte on
    std::vector<std::byte> back_;   // up to its last
};

}  // namespace hull::virtio
