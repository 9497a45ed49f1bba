// A guest's driver gone wild on the serial port and the other legacy devices, with input and a busy sink
// beside it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/device_node.h"
#include "devices/bus/bus.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/power.h"
#include "devices/legacy/pvpanic.h"
#include "devices/legacy/rtc.h"
#include "devices/legacy/serial.h"
#include "tests/fuzz/input.h"
#include "tests/support/fake_devices.h"

using namespace hull;
using test::require;

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    test::RecordingSink sink;
    test::CountingIrqLine irq;
    const auto ignore = [](GuestRequest) {};
    Serial serial{sink, irq, [] {}};
    Power power{irq, ignore};
    Pvpanic pvpanic{ignore};
    I8042 reset_line{ignore};
    Rtc clock{[] { return std::time_t{0}; }};
    Bus bus;
    bus.attach(GuestRange::of(0x00, Serial::kPorts), serial, "serial");
    bus.attach(GuestRange::of(0x10, I8042::kPorts), reset_line, "i8042");
    bus.attach(GuestRange::of(0x18, Rtc::kPorts), clock, "rtc");
    bus.attach(GuestRange::of(0x20, Pvpanic::kSize), pvpanic, "pvpanic");
    bus.attach(GuestRange::of(0x40, Power::kSize), power, "power");

    while (!input.empty()) {
        // Two bits choose the width, two the action; the address follows.
        const uint8_t choice = input.byte();
        const size_t width = size_t{1} << (choice & 3);
        const GuestAddress address{input.byte()};
        std::array<std::byte, 8> bytes{};
        for (std::byte& value : bytes) {
            value = std::byte{choice >> 4 & 1 ? input.byte() : uint8_t{0xff}};
        }
        switch (choice >> 2 & 3) {
            case 0:
                bus.write(address, std::span{bytes.data(), width});
                break;
            case 1:
                bus.read(address, std::span{bytes.data(), width});
                break;
            case 2:
                require(serial.receive({reinterpret_cast<const uint8_t*>(bytes.data()), width}) <= width);
                break;
            default:
                sink.room = !sink.room;
                if (sink.room) {
                    serial.output_ready();
                }
                break;
        }
        if (sink.text.size() > 4096) {
            sink.text.clear();
        }
    }
    // Whatever was done, a driver that sets the port up again can print.
    sink.room = true;
    serial.output_ready();
    sink.text.clear();
    test::out_byte(serial, 3, 0);  // line control: no divisor latch
    test::out_byte(serial, 4, 0);  // modem control: no loopback
    test::out_byte(serial, 0, 'k');
    require(sink.text == "k");
    return 0;
}
