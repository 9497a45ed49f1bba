#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "devices/net/layout.h"
#include "devices/net/net_queues.h"
#include "tests/bench/request.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace hull::bench {

using namespace virtio;

namespace {

constexpr uint64_t kData = 0x8000;
/// A frame of 64 bytes, and the header before it.
using Frame = std::array<std::byte, sizeof(virtio_net_hdr_v1) + 64>;

/// The device with the other side of its socket.
class NetRequest : public Request {
  public:
    NetRequest() {
        int pair[2] = {};
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
            throw std::runtime_error{"no pair of sockets"};
        }
        link_ = UniqueFd{pair[0]};
        wire_ = UniqueFd{pair[1]};
        queues_.emplace(NetQueues::Sides{.receive = receive_,
                                         .transmit = transmit_,
                                         .driver = calls_,
                                         .link_fd = link_.get(),
                                         .stream = nullptr,
                                         .merge = true,
                                         .headers = true,
                                         .to_guest = to_guest_,
                                         .from_guest = from_guest_});
    }
    bool all_came() override { return came_ == asked_; }

  protected:
    ActiveQueue active(uint16_t index, const test::DriverQueue& queue) {
        return {index, VirtQueue::make(memory_, queue.config(), feature(VIRTIO_RING_F_EVENT_IDX)).value(),
                -1};
    }

    const GuestRange ranges_[1] = {GuestRange::of(0, 0x100000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    test::DriverQueue receive_driver_{memory_, 0x1000, 64};
    test::DriverQueue transmit_driver_{memory_, 0x4000, 64};
    ActiveQueue receive_ = active(0, receive_driver_);
    ActiveQueue transmit_ = active(1, transmit_driver_);
    test::RecordingCalls calls_;
    NetLimit to_guest_{0, 0};
    NetLimit from_guest_{0, 0};
    UniqueFd link_;
    UniqueFd wire_;
    std::optional<NetQueues> queues_;
    Frame frame_{};
    long asked_ = 0;
    long came_ = 0;
};

class NetSend final : public NetRequest {
  public:
    NetSend() {
        const test::Buffer buffers[] = {{kData, sizeof(Frame), false}};
        transmit_driver_.add(buffers);
        transmit_driver_.set_available_index(0);  // the chain is there, and is made available by ask()
    }
    void ask() override {
        take();
        ++asked_;
        transmit_driver_.make_available(0);
    }
    void serve() override { queues_->transmit(); }
    bool all_came() override {
        take();
        return NetRequest::all_came();
    }

  private:
    void take() { came_ += read(wire_.get(), frame_.data(), frame_.size()) == sizeof(Frame) ? 1 : 0; }
};

class NetReceive final : public NetRequest {
  public:
    NetReceive() {
        // Pages of 4 KiB, as Linux gives them: the largest frame has room in those that are there.
        for (uint16_t head = 0; head < kBuffers; ++head) {
            const test::Buffer buffers[] = {{kData + head * uint64_t{kPage}, kPage, true}};
            receive_driver_.add(buffers, head);
        }
    }
    void ask() override {
        give_back();
        ++asked_;
        static_cast<void>(write(wire_.get(), frame_.data(), frame_.size()) == sizeof(Frame));
    }
    void serve() override { queues_->receive(); }
    bool all_came() override {
        give_back();
        return NetRequest::all_came();
    }

  private:
    static constexpr uint16_t kBuffers = 32;
    static constexpr uint32_t kPage = 4096;

    void give_back() {
        for (const vring_used_elem& used : receive_driver_.take_used()) {
            came_ += used.len == sizeof(Frame) ? 1 : 0;
            receive_driver_.make_available(static_cast<uint16_t>(used.id));
        }
    }
};

}  // namespace

std::unique_ptr<Request> make_net_send() {
    return std::make_unique<NetSend>();
}

std::unique_ptr<Request> make_net_receive() {
    return std::make_unique<NetReceive>();
}

}  // namespace hull::bench
