// A guest's driver gone wild on the queue of the entropy device, which serves it on its own thread meanwhile.
#include <linux/virtio_mmio.h>
#include <unistd.h>

#include <cstdint>

#include "devices/rng/rng.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fuzz/echo_device.h"
#include "tests/fuzz/input.h"
#include "tests/support/fake_devices.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/virtio_driver.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kData = 0x4000;
constexpr uint64_t kEnd = 0x10000;
constexpr uint16_t kQueueSize = 16;

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    const GuestRange ranges[] = {GuestRange::of(0, kEnd)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::CountingIrqLine irq;
    Rng device;
    MmioTransport transport{device, memory, irq, "fuzz"};
    test::MmioDriver registers{transport};
    const auto start = [&](uint64_t features, const test::DriverQueue& queue) {
        registers.negotiate(test::kVersion1 | features);
        registers.set_queue(0, queue.config());
        registers.start();
    };
    test::DriverQueue queue{memory, kRings, kQueueSize};
    start(test::ring_features(input.byte()), queue);
    for (int step = 0; !input.empty() && step < 200; ++step) {
        switch (input.byte() % 4) {
            case 0: {
                const uint8_t shape = input.byte();
                const test::Buffer buffers[] = {
                    {kData + input.half_word() % 0x8000, input.half_word(), (shape & 0x40) == 0},
                    {kData, 0x100, (shape & 0x80) == 0}};
                const auto chain = std::span{buffers}.first((shape & 0x10) != 0 ? 2 : 1);
                const auto head = static_cast<uint16_t>(shape % 8 * 2);
                (shape & 0x20) != 0 ? queue.add_indirect(chain, head) : queue.add(chain, head);
                break;
            }
            case 1:
                require(memory.write(GuestAddress{kRings + input.half_word() % 0x400}, input.byte()));
                break;
            case 2:
                registers.reset_queue(0);
                break;
            default:
                registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
                break;
        }
    }
    // Whatever was done, a driver that begins anew is served.
    registers.set(VIRTIO_MMIO_STATUS, 0);
    require(memory.discard(GuestRange::of(kRings, kData - kRings)));
    test::DriverQueue anew{memory, kRings, kQueueSize};
    const test::Buffer request[] = {{kData, 64, true}};
    anew.add(request);
    start(0, anew);
    constexpr int kPatienceMs = 5000;
    auto used = anew.take_used();
    for (int wait = 0; wait < kPatienceMs && used.empty(); ++wait) {
        registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        usleep(wait == 0 ? 0 : 1000);
        used = anew.take_used();
    }
    require(used.size() == 1 && used[0].len == 64);
    return 0;
}
