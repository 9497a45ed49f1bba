// The two queues of a network device: frames to the guest and from it.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "base/token_bucket.h"
#include "devices/net/frame_stream.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// How much may pass in one direction. Any thread.
class NetLimit {
  public:
    /// The most of either in a second; 0: any number.
    NetLimit(uint64_t frames, uint64_t bytes);

    /// How long nothing may pass from now on; zero where it may.
    [[nodiscard]] std::chrono::nanoseconds wait_time() const;
    /// Counts a frame of `size` bytes.
    void take(size_t size);

  private:
    std::optional<TokenBucket> frames_;
    std::optional<TokenBucket> bytes_;
};

/// Carries frames between a descriptor (see Net) and the driver's queues, on one thread.
class NetQueues {
  public:
    struct Sides {
        ActiveQueue& receive;   ///< receiveq: buffers for frames to the guest
        ActiveQueue& transmit;  ///< transmitq: frames from the guest
        DriverCalls& driver;
        int link_fd;
        bool program = false;  ///< a program of the host's is at the other side, and not its kernel
        FrameStream* stream;   ///< where it is a stream socket: what makes frames of it
        bool merge;            ///< VIRTIO_NET_F_MRG_RXBUF: a frame may fill several buffers
        bool headers;  ///< VIRTIO_NET_F_GUEST_CSUM: what the other side says of a frame is for the guest
        NetLimit& to_guest;
        NetLimit& from_guest;
    };

    explicit NetQueues(const Sides& sides) : sides_{sides}, link_is_gone_{sides.link_fd < 0} {}

    /// What is done when the other side leaves.
    struct LinkWatch {
        std::function<void(bool is_up)> changed;
        /// Looks for it, every second: its new descriptor, or -1. Sides::stream is of that then. None where
        /// it does not come back.
        std::function<int()> find;
    };
    /// Serves until `stop_fd` is readable, or a queue breaks, which the driver is told.
    void serve(int stop_fd, const LinkWatch& watch);

    /// Frames in one direction before the other gets its turn.
    static constexpr int kBatch = 64;
    /// One part of serve(): gives the guest what frames there are and it has buffers for, `most` at most.
    void receive(int most = kBatch);
    /// The other part: sends what the guest has made available. What the other side has no room for waits.
    void transmit();
    /// Behind either or both: tells the driver what was used, where it wants to know.
    void tell_driver();

    /// The most bytes of one frame: IPv4's largest packet behind an Ethernet header with a VLAN tag.
    static constexpr size_t kMostFrame = 65535 + 18;

  private:
    /// False where there is none, or the queue breaks.
    [[nodiscard]] bool take_buffer();
    /// Takes buffers until the largest frame fits, or one where the driver does not merge them; false where
    /// there are none.
    [[nodiscard]] bool have_buffers();
    [[nodiscard]] bool receive_one();
    void deliver(size_t size);
    /// False where the other side has no room.
    [[nodiscard]] bool send(const DescriptorChain& chain);
    void fail(const char* why);
    void look_for_link(const std::function<int()>& find);

    Sides sides_;
    bool broken_ = false;
    bool link_is_gone_;
    std::chrono::steady_clock::time_point look_again_{};  // for a link that is gone
    bool starved_ = false;                                // no buffer to receive into
    std::optional<DescriptorChain> unsent_;               // what has to wait
    std::deque<DescriptorChain> buffers_;                 // taken from the receive queue and not filled yet
    size_t room_ = 0;                                     // of them
    std::vector<iovec> segments_;                         // of the same, behind those that were filled
    size_t filled_segments_ = 0;
    int small_in_a_row_ = 0;                                                // frames that needed little room
    std::vector<std::byte> overflow_ = std::vector<std::byte>(kMostFrame);  // what did not fit into that
};

}  // namespace hull::virtio
