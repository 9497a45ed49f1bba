#include "devices/console/port_queues.h"
#include "devices/virtio/ring_layout.h"
#include "tests/bench/request.h"
#include "tests/support/console_guest.h"

namespace hull::bench {

using namespace virtio;

namespace {

constexpr uint32_t kBytes = 16;

class CountingHost final : public PortHost {
  public:
    size_t write(std::span<const std::byte> bytes) override {
        written += bytes.size();
        return bytes.size();
    }
    size_t read(std::span<std::byte> /*target*/) override { return 0; }
    [[nodiscard]] Waits waits(const Wishes& /*wishes*/) const override {
        return {pollfd{-1, 0, 0}, pollfd{-1, 0, 0}};
    }
    void take_events(const Waits& /*waits*/) override {}

    size_t written = 0;
};

class ConsoleWrite final : public Request {
  public:
    ConsoleWrite() {
        const test::Buffer buffers[] = {{test::ConsoleGuest::page(1, 0), kBytes, false}};
        guest_.queues[1].add(buffers);
        guest_.queues[1].set_available_index(0);  // the chain is there, and is made available by ask()
    }
    void ask() override {
        ++asked_;
        guest_.queues[1].make_available(0);
    }
    void serve() override { port_.transmit(PortQueues::kTurn); }
    bool all_came() override { return host_.written == asked_ * kBytes; }

  private:
    test::ConsoleGuest guest_{2};
    Activation activation_ = guest_.activation(feature(VIRTIO_RING_F_EVENT_IDX));
    CountingHost host_;
    PortState state_{.guest_is_open = true};
    PortQueues port_{{.receive = activation_.queues[0],
                      .transmit = activation_.queues[1],
                      .driver = guest_.calls,
                      .host = host_},
                     state_};
    size_t asked_ = 0;
};

}  // namespace

std::unique_ptr<Request> make_console_write() {
    return std::make_unique<ConsoleWrite>();
}

}  // namespace hull::bench
