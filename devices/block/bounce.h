// Direct I/O into and out of memory that is not aligned for it.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "devices/block/backend.h"

namespace hull::virtio {

/// Puts reads and writes whose memory the files below cannot take through memory of its own, at most
/// kMostAtOnce bytes at a time: the rest is asked for again. All else is handed on as it is.
class BounceBackend final : public LayeredBackend {
  public:
    /// The files take pieces of memory that begin at multiples of `alignment` and are multiples of
    /// `block_size` long, both powers of two up to 4096.
    BounceBackend(std::unique_ptr<BlockBackend> files, uint32_t alignment, uint32_t block_size,
                  uint16_t queue_size);

    void start(uint16_t slot, const BlockOperation& operation) override;
    bool wait(std::vector<End>& ends, std::chrono::nanoseconds most) override;

    /// So that a driver that fills its queue with such requests costs the host 16 MiB.
    static constexpr uint64_t kMostAtOnce = uint64_t{64} * 1024;

  private:
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };
    struct Slot {
        std::unique_ptr<std::byte, Free> memory;  // while an operation goes through it
        iovec segment{};                          // of it
        std::span<const iovec> target;            // that a read is for
    };

    uint32_t alignment_;
    uint32_t block_size_;
    std::vector<Slot> slots_;
    std::vector<End> failed_;  // for want of memory
};

}  // namespace hull::virtio
