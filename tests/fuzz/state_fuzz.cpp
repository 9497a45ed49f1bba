// What claims to be a machine's state: one that was saved, mostly, with some bytes changed, cut off or added.
// A part that takes it can save it again, and goes on. Input: what the guest does before it is saved, and
// then the changes.
#include <linux/virtio_mmio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/state.h"
#include "devices/legacy/power.h"
#include "devices/legacy/rtc.h"
#include "devices/legacy/serial.h"
#include "devices/pci/bus.h"
#include "devices/rng/rng.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/pci_transport.h"
#include "tests/fuzz/input.h"
#include "tests/support/fake_devices.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/pci_driver.h"
#include "tests/support/virtio_driver.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;

constexpr uint64_t kWindow = 0xe010'0000;
constexpr uint32_t kSlot = 1;

/// The parts of a machine whose state is to be fuzzed.
struct Machine {
    Machine() { bus.plug(kSlot, function); }

    /// What a guest does, a little of it.
    void use(test::FuzzInput& input) {
        for (int step = input.byte() % 8; step > 0; --step) {
            const auto offset = static_cast<uint64_t>(input.byte());
            const std::byte value{input.byte()};
            const auto one = std::span{&value, 1};
            switch (input.byte() % 5) {
                case 0:
                    serial.write(offset % Serial::kPorts, one);
                    break;
                case 1:
                    clock.write(offset % Rtc::kPorts, one);
                    break;
                case 2:
                    power.press_button();
                    break;
                case 3: {
                    test::MmioDriver driver{registers};
                    driver.negotiate(test::kVersion1);
                    driver.set_queue(0, test::DriverQueue{memory, 0x1000, 16}.config());
                    driver.start();
                    break;
                }
                default: {
                    test::PciDriver driver{bus, kWindow, kSlot};
                    driver.negotiate(test::kVersion1);
                    driver.set_queue(0, test::DriverQueue{memory, 0x4000, 16}.config(), 1);
                    driver.set_vector(1, 0xfee0'0000, 0x31, false);
                    driver.set_msix(0x8000);
                    driver.start();
                    break;
                }
            }
        }
    }
    std::vector<Stateful*> parts() { return {&serial, &clock, &power, &registers, &bus}; }
    std::vector<std::byte> save() {
        StateWriter state;
        for (const Stateful* part : parts()) {
            part->save(state);
        }
        return state.bytes();
    }

    const GuestRange ranges[1] = {GuestRange::of(0, 0x1'0000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::RecordingSink sink;
    test::CountingIrqLine irq;
    Serial serial{sink, irq, [] {}};
    Rtc clock{[] { return std::time_t{0}; }};
    Power power{irq, [](GuestRequest) {}};
    Rng first;
    MmioTransport registers{first, memory, irq, "first"};
    pci::PciBus bus{GuestRange::of(kWindow, pci::PciBus::kWindowSize)};
    test::CountingMessages messages;
    Rng second;
    PciTransport function{second, memory, bus.registers_of(kSlot), messages.maker(), "second"};
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    Machine saved;
    saved.use(input);
    for (Stateful* part : saved.parts()) {
        part->quiesce();
    }
    std::vector<std::byte> bytes = saved.save();
    for (int change = input.byte() % 4; change > 0; --change) {
        bytes.at(input.half_word() % bytes.size()) = std::byte{input.byte()};
    }
    const uint8_t how = input.byte();
    if (how >= 0xf0) {
        bytes.resize(input.half_word() % (2 * bytes.size()));
    }
    Machine other;
    StateReader state{bytes};
    try {
        for (Stateful* part : other.parts()) {
            part->load(state);
        }
        state.end();
    } catch (const Error& error) {
        require(error.status() == ExitStatus::bad_file);
        return 0;
    }
    // What it is now can be told again, and comes out the same.
    const std::vector<std::byte> again = other.save();
    Machine third;
    StateReader same{again};
    for (Stateful* part : third.parts()) {
        part->load(same);
    }
    require(third.save() == again);
    for (Stateful* part : other.parts()) {
        part->resume();
    }
    other.use(input);
    return 0;
}
