// Several files as one disk, each of them a partition of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "devices/block/backend.h"
#include "devices/block/partition_table.h"

namespace hull::virtio {

/// Puts a disk over a backend whose first files are the partitions of a table, in its order; those that
/// follow are known above as 1 and so on. Reads and writes that go beyond a partition's end end there: the
/// rest is asked for again. What is outside of the partitions can be read, and all else there is an error
/// (EIO). A flush reaches every partition.
class JoinedBackend final : public LayeredBackend {
  public:
    /// `table` must outlive the backend.
    JoinedBackend(std::unique_ptr<BlockBackend> files, const PartitionTable& table, uint16_t queue_size);

    void start(uint16_t slot, const BlockOperation& operation) override;
    bool wait(std::vector<End>& ends, std::chrono::nanoseconds most) override;

  private:
    struct Slot {
        BlockOperation rest{};  // what has not been started yet
        std::vector<iovec> memory;
    };
    /// A part of the disk that is all in one partition or in none.
    struct Piece {
        std::optional<uint16_t> partition;
        uint64_t offset;  // in the partition, or in the disk where it is in none
        uint64_t length;
    };
    [[nodiscard]] Piece piece(uint64_t offset, uint64_t length) const;
    void start_transfer(uint16_t number);
    /// Goes on with what takes several steps: a flush, and all that clears.
    void start_step(uint16_t number);

    const PartitionTable& table_;
    std::vector<Slot> slots_;
    std::vector<End> ended_;  // without anything to do
};

}  // namespace hull::virtio
