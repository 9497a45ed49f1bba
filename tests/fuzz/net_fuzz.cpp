// A guest gone wild on the rings of a network device, and another side that sends anything.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "devices/net/layout.h"
#include "devices/net/net_queues.h"
#include "tests/fuzz/input.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;

constexpr uint64_t kReceiveRings = 0x1000;
constexpr uint64_t kTransmitRings = 0x3000;
constexpr uint64_t kData = 0x5000;
constexpr uint64_t kEnd = 0x10000;
constexpr uint16_t kQueueSize = 8;

/// The device's side and the far one.
struct Wire {
    explicit Wire(int type) {
        int pair[2] = {};
        require(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair) == 0);
        device = UniqueFd{pair[0]};
        far_end = UniqueFd{pair[1]};
    }
    UniqueFd device;
    UniqueFd far_end;
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    const GuestRange ranges[] = {GuestRange::of(0, kEnd)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    const uint8_t shape = input.byte();
    const bool is_stream = (shape & 4) != 0;
    const Wire wire{is_stream ? SOCK_STREAM : SOCK_SEQPACKET};
    NetLimit unlimited{0, 0};
    const uint64_t features = uint64_t{input.byte()} << VIRTIO_RING_F_INDIRECT_DESC &
                              (feature(VIRTIO_RING_F_INDIRECT_DESC) | feature(VIRTIO_RING_F_EVENT_IDX));
    test::DriverQueue receive_driver{memory, kReceiveRings, kQueueSize};
    test::DriverQueue transmit_driver{memory, kTransmitRings, kQueueSize};
    test::RecordingCalls calls;
    ActiveQueue receive{0, std::move(*VirtQueue::make(memory, receive_driver.config(), features)), -1};
    ActiveQueue transmit{1, std::move(*VirtQueue::make(memory, transmit_driver.config(), features)), -1};
    std::optional<FrameStream> stream;
    if (is_stream) {
        stream.emplace(wire.device.get());
    }
    NetQueues queues{{.receive = receive,
                      .transmit = transmit,
                      .driver = calls,
                      .link_fd = wire.device.get(),
                      .program = true,
                      .stream = stream ? &*stream : nullptr,
                      .merge = (shape & 1) != 0,
                      .headers = (shape & 2) != 0,
                      .to_guest = unlimited,
                      .from_guest = unlimited}};

    std::vector<std::byte> frame(0x2'0010);
    while (!input.empty()) {
        const uint8_t what = input.byte();
        const bool is_transmit = (what & 0x80) != 0;
        test::DriverQueue& driver = is_transmit ? transmit_driver : receive_driver;
        switch (what % 6) {
            case 0: {
                // A chain of one or two buffers, mostly sound.
                const uint16_t length = input.half_word();
                const uint8_t build = input.byte();
                const bool writable = is_transmit == ((build & 0x40) != 0);
                const test::Buffer buffers[] = {{kData + input.half_word() % 0x8000, length, writable},
                                                {kData + 0x8000, 0x100, writable}};
                const auto head = static_cast<uint16_t>(build % 4 * 2);
                const auto chain = std::span{buffers}.first((build & 0x10) != 0 ? 2 : 1);
                (build & 0x20) != 0 ? driver.add_indirect(chain, head) : driver.add(chain, head);
                break;
            }
            case 1:
                require(memory.write(GuestAddress{kReceiveRings + input.half_word() % 0x4000}, input.byte()));
                break;
            case 2: {
                // What is no frame, too, and more than any buffer holds.
                const size_t length = (size_t{input.half_word()} << 1) % frame.size();
                if (is_stream) {
                    // The length that is told is mostly the true one.
                    const uint8_t untrue = input.byte();
                    const uint32_t told = htonl(static_cast<uint32_t>(length + (untrue < 32 ? untrue : 0)));
                    std::memcpy(frame.data(), &told, sizeof told);
                }
                static_cast<void>(
                    write(wire.far_end.get(), frame.data(), length + (is_stream ? sizeof(uint32_t) : 1)));
                break;
            }
            case 3:
                queues.receive();
                break;
            case 4:
                queues.transmit();
                break;
            default:
                static_cast<void>(read(wire.far_end.get(), frame.data(), frame.size()));
                break;
        }
    }
    queues.receive();
    queues.transmit();
    queues.tell_driver();
    for (test::DriverQueue* driver : {&receive_driver, &transmit_driver}) {
        for (const vring_used_elem& used : driver->take_used()) {
            require(!calls.broken.empty() || used.len <= kEnd);
        }
    }
    return 0;
}
