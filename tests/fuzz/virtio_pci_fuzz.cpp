// A guest gone wild on a PCI bus: in configuration space, by ports, and at the registers of a virtio
// function.
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "devices/pci/bus.h"
#include "devices/virtio/pci_transport.h"
#include "tests/fuzz/echo_device.h"
#include "tests/fuzz/input.h"
#include "tests/support/pci_driver.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;

using test::EchoGuest;

constexpr uint64_t kWindow = 0xe010'0000;
constexpr uint32_t kSlot = 1;
constexpr uint64_t kSlotConfig = kSlot * 8 * pci::PciBus::kConfigSize;

/// One write and one read of the same place, where it is within `size`.
void access(BusDevice& device, uint64_t offset, uint64_t size, test::FuzzInput& input) {
    const size_t width = size_t{1} << (input.byte() & 3);
    std::array<std::byte, 8> bytes{};
    bytes.fill(std::byte{input.byte()});
    if (offset + width <= size) {
        device.write(offset, std::span{bytes}.first(width));
        device.read(offset, std::span{bytes}.first(width));
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    EchoGuest guest;
    test::CountingMessages messages;
    pci::PciBus bus{GuestRange::of(kWindow, pci::PciBus::kWindowSize)};
    std::optional<PciTransport> transport;
    const auto plug = [&] {
        transport.emplace(guest.device, guest.memory, bus.registers_of(kSlot), messages.maker(), "fuzz");
        bus.plug(kSlot, *transport);
    };
    plug();
    test::PciDriver driver{bus, kWindow, kSlot};

    const auto start = [&](uint64_t features, const QueueConfig& queue) {
        driver.negotiate(test::kVersion1 | features);
        driver.set_queue(0, queue, 1);
        driver.start();
    };
    while (!input.empty()) {
        const uint8_t choice = input.byte();
        if (choice == 0xff) {
            // It goes, or another comes.
            if (transport) {
                bus.unplug(kSlot);
                transport.reset();
                messages.all.clear();
            } else {
                plug();
            }
            continue;
        }
        switch (choice % 12) {
            case 0:
                access(bus.window(), kSlot * pci::PciBus::kRegistersSize + input.byte() % 0x3cU,
                       pci::PciBus::kWindowSize, input);
                break;
            case 1:
                access(bus.window(), kSlot * pci::PciBus::kRegistersSize + input.half_word(),
                       pci::PciBus::kWindowSize, input);
                break;
            case 2:
                access(bus.ecam(), kSlotConfig + input.byte(), pci::PciBus::kEcamSize, input);
                break;
            case 3: {
                const uint32_t address = input.word();
                bus.ports().write(0, std::as_bytes(std::span{&address, 1}));
                access(bus.ports(), input.byte() & 7, pci::PciBus::kPorts, input);
                break;
            }
            case 4:
                driver.set_vector(input.byte() % 4U, input.word(), input.word(), (input.byte() & 1) != 0);
                break;
            case 5:
                driver.set_msix(input.half_word());
                break;
            case 6:
                start(test::ring_features(input.byte()), guest.queue.config());
                break;
            case 7:
                guest.queue.add(EchoGuest::kRequest, static_cast<uint16_t>(input.byte() % 4 * 2));
                break;
            case 8:
                guest.device.change_configuration();
                break;
            case 9:
                driver.reset_queue(input.byte() % 3);
                break;
            case 10:
                // A reset queue again, or one that was left out.
                driver.set_queue(input.byte() % 3, guest.queue.config(), 1);
                break;
            default:
                guest.device.serve();
                break;
        }
    }
    if (!transport) {
        uint32_t identity = 0xffff'ffff;
        bus.ecam().read(kSlotConfig, std::as_writable_bytes(std::span{&identity, 1}));
        require(identity == 0xffff'ffff);
        plug();
    }
    // Whatever was done, the function is where it was, and a driver that begins anew is served and called.
    for (const test::CountingMessage* message : messages.all) {
        require(message->count == 0 || message->routes > 0);
    }
    driver.set_common<uint8_t>(VIRTIO_PCI_COMMON_STATUS, 0);
    test::PciDriver again{bus, kWindow, kSlot};
    again.set_config<uint32_t>(PCI_BASE_ADDRESS_0, 0);
    again.set_msix(PCI_MSIX_FLAGS_ENABLE);
    again.set_vector(1, 0xfee0'0000, 0x31, false);
    const int before = messages.all[1]->count;
    guest.expect_service([&](const QueueConfig& queue) {
        again.negotiate(test::kVersion1);
        again.set_queue(0, queue, 1);
        again.start();
    });
    require(messages.all[1]->count == before + 1 && messages.all[1]->data == 0x31);
    require((again.common<uint8_t>(VIRTIO_PCI_COMMON_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) == 0);
    return 0;
}
