// A split virtqueue (VIRTIO 1.2, 2.7), from the device's side.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/guest_memory.h"
#include "devices/virtio/descriptor_chain.h"

namespace hull::virtio {

/// A feature's mask from its number.
constexpr uint64_t feature(unsigned bit) {
    return uint64_t{1} << bit;
}

/// What a driver wrote into a transport's registers. Nothing of it is checked.
struct QueueConfig {
    uint16_t size = 0;               ///< entries
    GuestAddress descriptor_area{};  ///< the descriptor table
    GuestAddress driver_area{};      ///< the available ring
    GuestAddress device_area{};      ///< the used ring
};

/// The driver broke a rule of the queue: the device needs a reset (VIRTIO 1.2, 2.1.1).
struct QueueError {
    const char* what;  ///< a clause, for the log
};

/// The most entries that a queue here may have; the specification allows 32768.
inline constexpr uint16_t kMaxQueueSize = 1024;

/// A queue that a driver has set up. One thread at a time; not moved while a chain is in flight.
class VirtQueue {
  public:
    /// Checks the configuration once and for all: the size is a power of two and at most kMaxQueueSize, each
    /// area is aligned and lies in `memory` (which must outlive the queue) wholly. `features` are the
    /// negotiated ones.
    [[nodiscard]] static tl::expected<VirtQueue, QueueError> make(const GuestMemory& memory,
                                                                  const QueueConfig& config,
                                                                  uint64_t features);

    VirtQueue(VirtQueue&& other) noexcept = default;
    VirtQueue& operator=(VirtQueue&& other) noexcept = default;
    VirtQueue(const VirtQueue&) = delete;
    VirtQueue& operator=(const VirtQueue&) = delete;
    ~VirtQueue() = default;

    [[nodiscard]] uint16_t size() const { return size_; }

    /// Goes on where a queue in the same place was left: behind what the driver has been given back. Before
    /// anything else is called.
    void resume();

    /// The next chain that the driver made available, if any. It is checked whole: that its head is no other
    /// chain's in flight, that it ends within as many descriptors as the queue has, that every buffer lies in
    /// guest memory, that nothing to read comes after something to write, and that no indirect table is
    /// nested. After an error the queue is not to be used any more.
    [[nodiscard]] tl::expected<std::optional<DescriptorChain>, QueueError> pop();

    /// Gives a chain back to the driver; `written` bytes of its device-writable part are new.
    void push(DescriptorChain chain, uint32_t written) {
        stage(std::move(chain), written);
        publish();
    }
    /// The same in two steps, for several chains that the driver is to see at once: it sees none of those
    /// that were staged before they are published.
    void stage(DescriptorChain chain, uint32_t written);
    void publish();

    /// Whether the driver wants an interrupt for what was pushed since this was last asked (2.7.7, 2.7.10).
    [[nodiscard]] bool interrupt_is_wanted();

    /// Asks the driver to be silent, or to kick when it makes the next chain available (2.7.10). The second
    /// answers whether there is one already, made before the driver could see that it should kick: look again
    /// then.
    void hold_kicks();
    [[nodiscard]] bool ask_for_kicks();

    /// Where its areas are in the host's memory, for who hands the queue on to another program.
    struct Areas {
        const std::byte* descriptors;
        const std::byte* available;
        const std::byte* used;
    };
    [[nodiscard]] Areas areas() const { return {descriptors_, available_, used_}; }
    /// The index in the available ring from which on nothing was popped or taken over.
    [[nodiscard]] uint16_t next_available() const { return next_available_; }

    /// Takes the queue back from another program that served it and does so no more: the heads of the chains
    /// that are owed to the driver. Each is to be popped by pop_owed() and pushed; then the queue goes on
    /// behind them. The driver may go on meanwhile, if it raises its index for each chain. An error where the
    /// rings do not tell them: a guest scribbled there, or the program had answered in an order that cannot
    /// be found out any more.
    [[nodiscard]] tl::expected<std::vector<uint16_t>, QueueError> take_over();
    /// As pop(), for one of these.
    [[nodiscard]] tl::expected<DescriptorChain, QueueError> pop_owed(uint16_t head);

  private:
    struct Chain {
        std::vector<iovec>
            segments;         // kept, so that no memory is allocated once the queue has run for a while
        size_t readable = 0;  // how many of them
        uint32_t readable_size = 0;  // bytes
        uint32_t writable_size = 0;
        bool in_flight = false;
    };

    VirtQueue(const GuestMemory& memory, uint16_t size, uint64_t features);

    [[nodiscard]] uint16_t available_index() const;
    [[nodiscard]] DescriptorChain begin(uint16_t head);
    [[nodiscard]] std::optional<std::vector<uint16_t>> find_owed(uint16_t available, uint16_t owed) const;
    [[nodiscard]] tl::expected<void, QueueError> collect(uint16_t head);
    [[nodiscard]] tl::expected<void, QueueError> add_buffer(Chain& chain, uint64_t address, uint32_t length,
                                                            bool writable);
    /// For GuestMemory's log. What stage() writes into the ring is marked when it is published.
    void mark_used_ring() const;

    const GuestMemory* memory_;
    uint16_t size_;
    bool event_index_;
    bool indirect_;
    // The three areas, in the host's memory; the guest writes to them at any time.
    std::byte* descriptors_ = nullptr;
    std::byte* available_ = nullptr;
    std::byte* used_ = nullptr;
    uint16_t next_available_ = 0;
    uint16_t next_used_ = 0;
    uint16_t told_used_ =
        0;  // as next_used_ was when the driver was last asked whether it wants an interrupt
    std::vector<Chain> chains_;  // by head
};

}  // namespace hull::virtio
