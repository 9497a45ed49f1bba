// Power, pvpanic, the reset line and the clock chip.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/device_node.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/power.h"
#include "devices/legacy/pvpanic.h"
#include "devices/legacy/rtc.h"
#include "tests/support/fake_devices.h"

namespace hull {
namespace {

namespace registers = power_registers;
using test::in_byte;
using test::out_byte;

template <typename T>
T read_register(BusDevice& device, uint64_t offset) {
    std::array<std::byte, sizeof(T)> data;
    data.fill(std::byte{0xff});
    device.read(offset, data);
    T value;
    std::memcpy(&value, data.data(), sizeof value);
    return value;
}

template <typename T>
void write_register(BusDevice& device, uint64_t offset, T value) {
    std::array<std::byte, sizeof(T)> data;
    std::memcpy(data.data(), &value, sizeof value);
    device.write(offset, data);
}

class PowerTest : public testing::Test {
  protected:
    std::vector<GuestRequest> requests_;
    test::CountingIrqLine irq_;
    Power power_{irq_, [this](GuestRequest request) { requests_.push_back(request); }};
};

TEST_F(PowerTest, PowersOffAndResets) {
    out_byte(power_, registers::kSleepControl, registers::kSleepTypeOff << 2 | registers::kSleepEnable);
    EXPECT_EQ(requests_, std::vector{GuestRequest::power_off});
    write_register<uint32_t>(power_, registers::kReset, registers::kResetValue);
    EXPECT_EQ(requests_, (std::vector{GuestRequest::power_off, GuestRequest::reset}));
}

TEST_F(PowerTest, DoesNothingForAnythingElse) {
    for (uint64_t offset = 0; offset < Power::kSize; ++offset) {
        for (int value = 0; value < 256; ++value) {
            const bool off = offset == registers::kSleepControl && value == 0x34;
            const bool reset = offset == registers::kReset && value == registers::kResetValue;
            if (!off && !reset) {
                out_byte(power_, offset, static_cast<uint8_t>(value));
            }
        }
        EXPECT_EQ(read_register<uint8_t>(power_, offset), 0) << offset;
    }
    EXPECT_TRUE(requests_.empty());
    EXPECT_EQ(irq_.count(), 0);
}

TEST_F(PowerTest, TheButtonIsToldOnce) {
    EXPECT_EQ(read_register<uint32_t>(power_, registers::kEvents), 0U);
    power_.press_button();
    EXPECT_EQ(irq_.count(), 1);
    EXPECT_EQ(read_register<uint32_t>(power_, registers::kSleepStatus), 0U);
    EXPECT_EQ(read_register<uint32_t>(power_, registers::kEvents), registers::kEventPowerButton);
    EXPECT_EQ(read_register<uint32_t>(power_, registers::kEvents), 0U);
    power_.press_button();
    EXPECT_EQ(read_register<uint8_t>(power_, registers::kEvents), registers::kEventPowerButton);
    EXPECT_EQ(irq_.count(), 2);
}

TEST_F(PowerTest, APressIsNeverLostBetweenThreads) {
    std::thread presser{[this] {
        for (int i = 0; i < 1000; ++i) {
            power_.press_button();
        }
    }};
    uint32_t seen = 0;
    while (irq_.count() < 1000) {
        seen |= read_register<uint32_t>(power_, registers::kEvents);
    }
    presser.join();
    seen |= read_register<uint32_t>(power_, registers::kEvents);
    EXPECT_EQ(seen, registers::kEventPowerButton);
}

TEST(Pvpanic, OffersAndTakesAPanicOnly) {
    std::vector<GuestRequest> requests;
    Pvpanic device{[&](GuestRequest request) { requests.push_back(request); }};
    EXPECT_EQ(in_byte(device, 0), 1);  // PVPANIC_PANICKED; Linux's driver refuses a device without it
    EXPECT_EQ(in_byte(device, 1), 0);
    out_byte(device, 1, 1);
    out_byte(device, 0, 0);
    out_byte(device, 0, 2);  // "crash loaded" is not offered
    EXPECT_TRUE(requests.empty());
    out_byte(device, 0, 1);
    EXPECT_EQ(requests, std::vector{GuestRequest::panic});
    EXPECT_EQ(read_register<uint16_t>(device, 0), 1);
}

TEST(I8042, IsAlwaysReadyAndPullsTheResetLine) {
    int resets = 0;
    I8042 device{[&](GuestRequest request) { resets += request == GuestRequest::reset ? 1 : 100; }};
    EXPECT_EQ(in_byte(device, 4) & 0x02, 0) << "the kernel would wait for the input buffer";
    for (uint64_t offset = 0; offset < I8042::kPorts; ++offset) {
        for (int value = 0; value < 256; ++value) {
            if (offset != 4 || value != 0xfe) {
                out_byte(device, offset, static_cast<uint8_t>(value));
            }
        }
    }
    EXPECT_EQ(resets, 0);
    out_byte(device, 4, 0xfe);
    EXPECT_EQ(resets, 1);
}

uint8_t clock_register(Rtc& clock, uint8_t index) {
    out_byte(clock, 0, index);
    return in_byte(clock, 1);
}

TEST(Rtc, TellsTheTimeInBcdWithACentury) {
    struct Row {
        std::time_t seconds;
        std::array<uint8_t, 8> expected;  // seconds, minutes, hours, day of week, day, month, year, century
    };
    const std::vector<Row> rows = {
        {0, {0x00, 0x00, 0x00, 5, 0x01, 0x01, 0x70, 0x19}},
        {946684799, {0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x19}},
        {946684800, {0x00, 0x00, 0x00, 7, 0x01, 0x01, 0x00, 0x20}},
        {1709210096, {0x56, 0x34, 0x12, 5, 0x29, 0x02, 0x24, 0x20}},
        {4102444800, {0x00, 0x00, 0x00, 6, 0x01, 0x01, 0x00, 0x21}},
    };
    constexpr std::array<uint8_t, 8> kIndexes{0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32};
    for (const Row& row : rows) {
        Rtc clock{[&row] { return row.seconds; }};
        for (size_t i = 0; i < kIndexes.size(); ++i) {
            EXPECT_EQ(clock_register(clock, kIndexes.at(i)), row.expected.at(i))
                << row.seconds << ", register " << int{kIndexes.at(i)};
        }
    }
}

TEST(Rtc, SaysHowToReadIt) {
    Rtc clock{[] { return std::time_t{0}; }};
    EXPECT_EQ(clock_register(clock, 0x0a) & 0x80, 0) << "an update that never ends";
    EXPECT_EQ(clock_register(clock, 0x0b) & 0x06, 0x02) << "24 hours, BCD";
    EXPECT_EQ(clock_register(clock, 0x0c), 0) << "no interrupt";
    EXPECT_EQ(clock_register(clock, 0x0d) & 0x80, 0x80) << "the battery is good";
    EXPECT_EQ(clock_register(clock, 0x80 | 0x0d), 0x80) << "the NMI mask is no part of the index";
    out_byte(clock, 0, 0x0d);
    EXPECT_EQ(in_byte(clock, 0), 0x0d);
}

TEST(Rtc, KeepsItsBytesButNotATimeThatIsSet) {
    Rtc clock{[] { return std::time_t{0}; }};
    for (const int index : {0x0e, 0x3f, 0x7f}) {
        out_byte(clock, 0, static_cast<uint8_t>(index));
        out_byte(clock, 1, 0xa5);
        EXPECT_EQ(clock_register(clock, static_cast<uint8_t>(index)), 0xa5);
    }
    out_byte(clock, 0, 0x09);
    out_byte(clock, 1, 0x33);
    EXPECT_EQ(clock_register(clock, 0x09), 0x70);
}

TEST(LegacyDevices, AnyAccessOfAnyWidthIsHarmless) {
    test::CountingIrqLine irq;
    const auto ignore = [](GuestRequest) {};
    Power power{irq, ignore};
    Pvpanic pvpanic{ignore};
    I8042 reset_line{ignore};
    Rtc clock;
    Bus bus;
    bus.attach(GuestRange::of(0x60, I8042::kPorts), reset_line, "i8042");
    bus.attach(GuestRange::of(0x70, Rtc::kPorts), clock, "rtc");
    bus.attach(GuestRange::of(0x1000, Power::kSize), power, "power");
    bus.attach(GuestRange::of(0x2000, Pvpanic::kSize), pvpanic, "pvpanic");
    std::mt19937 random{2};  // NOLINT(bugprone-random-generator-seed): the same bytes every time
    for (const uint64_t base : {0x60, 0x70, 0x1000, 0x1ff0, 0x2000}) {
        for (uint64_t offset = 0; offset < 24; ++offset) {
            for (const size_t width : {1, 2, 4, 8}) {
                for (int round = 0; round < 50; ++round) {
                    std::array<std::byte, 8> data{};
                    for (std::byte& byte : data) {
                        byte = static_cast<std::byte>(random());
                    }
                    bus.write(GuestAddress{base + offset}, std::span{data.data(), width});
                    bus.read(GuestAddress{base + offset}, std::span{data.data(), width});
                }
            }
        }
    }
    power.press_button();
    EXPECT_EQ(read_register<uint32_t>(power, registers::kEvents), registers::kEventPowerButton);
    EXPECT_EQ(clock_register(clock, 0x0d), 0x80);
}

}  // namespace
}  // namespace hull
