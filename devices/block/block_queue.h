// One queue of a disk: takes requests, has them done and answers them.
#pragma once

#include <linux/virtio_blk.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/token_bucket.h"
#include "devices/block/backend.h"
#include "devices/block/request.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// What the queues of a disk share.
struct BlockState {
    BlockLimits limits;
    std::string id;             ///< at most VIRTIO_BLK_ID_BYTES
    bool write_through = true;  ///< the driver has no flush, so that each write is to be one (5.2.6.4)
    /// A flush has failed. The host tells that once, and drops what it could not write; so no later flush may
    /// claim that everything is there.
    std::atomic<bool> flush_failed{false};
    std::optional<TokenBucket> requests{};  ///< how many in a second; any number where there is none
    std::optional<TokenBucket> bytes{};     ///< read and written in a second
};

/// When a thread that was woken gets the processor that the guest's runs on, where they share one. At once is
/// best for a driver that has one request under way and then waits for it. One that has several makes them
/// all available meanwhile if it is let (SCHED_BATCH), and kicks once; but as long as each is answered at
/// once it has never more than one. So this is tried now and then, and kept while it finds several. Of the
/// thread that it is made on, for as long as that lives.
class WakePolicy {
  public:
    /// Changes nothing where somebody else has decided before, or where `may_choose` is false.
    explicit WakePolicy(bool may_choose);
    /// After each turn: how many requests were found.
    void found(unsigned requests);

  private:
    static constexpr unsigned kTurnsToTry = 64;
    bool may_choose_;
    unsigned turns_ = 0;
    bool waits_ = false;  // until the guest's thread has no more to do
};

/// The requests of one queue, on one thread. Several are under way at a time and are answered as they end.
class BlockQueue {
  public:
    /// Everything given must outlive this object.
    BlockQueue(ActiveQueue& queue, DriverCalls& driver, BlockState& state, BlockBackend& backend,
               WakePolicy& policy);

    /// Serves until the backend is told to stop, and then until nothing is under way any more.
    void serve();

    /// One part of serve(): starts what the driver has made available, up to a queue's size of requests and
    /// as far as the limits let it, and answers what needs no doing. After it has found the queue broken it
    /// does nothing.
    void take();
    /// How long the limits let nothing be taken from now on.
    [[nodiscard]] std::chrono::nanoseconds held_for() const;
    /// Another part: goes on with what has ended.
    void take_end(const BlockBackend::End& end);
    [[nodiscard]] uint16_t under_way() const { return under_way_; }

  private:
    struct Slot {
        std::optional<DescriptorChain> chain;
        BlockOperation operation{};
        std::vector<iovec> memory;  // kept, so that no memory is allocated once the queue has run for a while
        std::byte* status = nullptr;
        uint32_t written = 1;  // the bytes of the chain that are new when it is answered
    };

    void start(uint16_t number, const BlockOperation& operation);
    void answer(Slot& slot, uint8_t status);
    void tell_driver();
    /// The whole of it was done.
    [[nodiscard]] bool is_done(Slot& slot, int32_t result);

    ActiveQueue& queue_;
    DriverCalls& driver_;
    BlockState& state_;
    BlockBackend& backend_;
    std::vector<Slot> slots_;  // by the chain's head
    uint16_t under_way_ = 0;
    unsigned found_ = 0;  // in this turn
    WakePolicy& policy_;
    bool broken_ = false;
};

}  // namespace hull::virtio
