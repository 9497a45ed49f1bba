// A guest's driver gone wild on the registers of virtio-mmio and on the rings that they tell of.
#include <linux/virtio_mmio.h>

#include <array>
#include <cstdint>
#include <span>

#include "devices/virtio/mmio_transport.h"
#include "tests/fuzz/echo_device.h"
#include "tests/fuzz/input.h"
#include "tests/support/fake_devices.h"
#include "tests/support/mmio_driver.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;

using test::EchoGuest;

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    EchoGuest guest;
    test::CountingIrqLine irq;
    MmioTransport transport{guest.device, guest.memory, irq, "fuzz"};
    test::MmioDriver registers{transport};

    const auto start = [&](uint64_t features, const QueueConfig& queue) {
        registers.negotiate(test::kVersion1 | features);
        registers.set_queue(0, queue);
        registers.start();
    };
    while (!input.empty()) {
        switch (input.byte() % 10) {
            case 0: {
                // A register that is there.
                const uint64_t offset = input.byte() % 0x44U * 4;
                registers.set(offset, input.word());
                break;
            }
            case 1: {
                const uint64_t offset = input.half_word();
                const size_t width = size_t{1} << (input.byte() & 3);
                std::array<std::byte, 8> bytes{};
                bytes.fill(std::byte{input.byte()});
                if (offset + width <= MmioTransport::kSize) {
                    transport.write(offset, std::span{bytes}.first(width));
                    transport.read(offset, std::span{bytes}.first(width));
                }
                break;
            }
            case 2:
                registers.set(VIRTIO_MMIO_STATUS, input.byte());
                break;
            case 3:
                start(test::ring_features(input.byte()), guest.queue.config());
                break;
            case 4: {
                const auto head = static_cast<uint16_t>(input.byte() % 4 * 2);
                (input.byte() & 1) != 0 ? guest.queue.add_indirect(EchoGuest::kRequest, head)
                                        : guest.queue.add(EchoGuest::kRequest, head);
                break;
            }
            case 5: {
                const uint64_t address = EchoGuest::kRings + input.half_word() % 0x400;
                require(guest.memory.write(GuestAddress{address}, input.byte()));
                break;
            }
            case 6:
                guest.device.change_configuration();
                break;
            case 7:
                registers.reset_queue(input.byte() % 3U);
                break;
            case 8:
                // A reset queue again, or one that was left out.
                registers.set_queue(input.byte() % 3U, guest.queue.config());
                break;
            default:
                guest.device.serve();
                break;
        }
    }
    guest.device.serve();
    // Whatever was done, a driver that begins anew is served.
    registers.set(VIRTIO_MMIO_STATUS, 0);
    guest.expect_service([&](const QueueConfig& queue) { start(0, queue); });
    require((registers.get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) == 0);
    return 0;
}
