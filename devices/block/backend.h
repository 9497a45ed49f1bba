// Where a disk's contents are, to the worker of one of its queues.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/thread_guard.h"

namespace hull::virtio {

/// What is to be done with a part of a disk. All of it lies within the disk.
struct BlockOperation {
    enum class Kind : uint8_t {
        read,
        write,
        flush,         ///< what was written is to be there after a loss of power; has no part
        discard,       ///< the contents are not needed any more
        write_zeroes,  ///< read as zeros from now on, with room kept for other contents
        unmap_zeroes,  ///< the same, and the room is given back
    };
    Kind kind;
    uint64_t offset = 0;              ///< bytes
    uint64_t length = 0;              ///< bytes; for read and write that of `memory`
    uint16_t file = 0;                ///< which of the backend's files, where it has more than the disk's
    std::span<const iovec> memory{};  ///< stays as it is until the operation has ended
};

/// Does the operations of one queue, whose requests are known by slots (below the queue's size, one operation
/// in each at a time), and waits for its driver at the same time. For the thread that makes it; any other may
/// destroy it, when no operation is under way.
class BlockBackend {
  public:
    struct End {
        uint16_t slot;
        int32_t result;  ///< how many bytes were read or written, which may be fewer; 0 for the other kinds;
                         ///< or a negative errno
    };

    virtual ~BlockBackend() = default;

    /// What its thread needs of the host.
    [[nodiscard]] virtual ThreadKind thread_kind() const { return ThreadKind::block_without_ring; }
    /// Before the first operation of each time that the device is active, when the stop eventfd is not
    /// signalled any more from the time before: wait() tells of the next stop.
    virtual void begin() {}

    /// Begins an operation; it ends in wait().
    virtual void start(uint16_t slot, const BlockOperation& operation) = 0;
    static constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();
    /// Sleeps until operations have ended, the driver has kicked, the worker is told to stop, or `most` has
    /// passed, and adds what has ended to `ends`. False where it was told to stop; it is told so once for
    /// each begin(), and can be called on.
    virtual bool wait(std::vector<End>& ends, std::chrono::nanoseconds most) = 0;
};

/// A backend that turns operations into those of the one below it.
class LayeredBackend : public BlockBackend {
  public:
    [[nodiscard]] ThreadKind thread_kind() const final { return files_->thread_kind(); }
    void begin() final { files_->begin(); }

  protected:
    explicit LayeredBackend(std::unique_ptr<BlockBackend> files) : files_{std::move(files)} {}

    std::unique_ptr<BlockBackend> files_;
};

/// Makes the backend of a queue of at most this many entries, on its worker's thread, before that has its
/// guard. Both descriptors are eventfds and outlive the backend, which alone reads the first.
using BlockBackendMaker =
    std::function<std::unique_ptr<BlockBackend>(uint16_t queue_size, int kick_fd, int stop_fd)>;

}  // namespace hull::virtio
