// What one write of 16 bytes, as Linux's console sends them, costs in the model of the console device: the
// queue, the port and the answer, with a host that only counts.
//   hull_console_bench ROUNDS [driver]
// Prints the time of a round; with "driver", of what the guest's driver does in one, which is to be
// subtracted. For instructions, the difference of two runs, divided by the rounds that one has more:
//   valgrind --tool=callgrind --callgrind-out-file=/dev/null hull_console_bench 1000
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "devices/console/port_queues.h"
#include "devices/virtio/ring_layout.h"
#include "tests/support/console_guest.h"

using namespace hull;
using namespace hull::virtio;

namespace {

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

}  // namespace

int main(int argc, char** argv) {
    constexpr uint32_t kBytes = 16;
    const long rounds = argc == 2 || argc == 3 ? std::atol(argv[1]) : 0;
    const bool driver_only = argc == 3;
    if (rounds <= 0) {
        std::fputs("hull_console_bench ROUNDS [driver]\n", stderr);
        return 2;
    }
    test::ConsoleGuest guest{2};
    Activation activation = guest.activation(feature(VIRTIO_RING_F_EVENT_IDX));
    CountingHost host;
    PortState state{.guest_is_open = true};
    PortQueues port{{.receive = activation.queues[0],
                     .transmit = activation.queues[1],
                     .driver = guest.calls,
                     .host = host},
                    state};
    const test::Buffer buffers[] = {{test::ConsoleGuest::page(1, 0), kBytes, false}};
    guest.queues[1].add(buffers);
    guest.queues[1].set_available_index(0);  // the chain is there, and is made available below
    const auto begin = std::chrono::steady_clock::now();
    for (long round = 0; round < rounds; ++round) {
        guest.queues[1].make_available(0);
        if (!driver_only) {
            port.transmit(PortQueues::kTurn);
        }
    }
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
    if (!driver_only && host.written != static_cast<size_t>(rounds) * kBytes) {
        std::fputs("hull_console_bench: not every byte arrived\n", stderr);
        return 1;
    }
    std::printf("%.1f ns\n", taken.count() / static_cast<double>(rounds));
    return 0;
}
