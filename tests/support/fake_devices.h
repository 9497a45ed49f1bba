// What a device under test is wired to.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "base/byte_sink.h"
#include "base/irq_line.h"
#include "devices/bus/bus.h"

namespace hull::test {

/// An interrupt that only counts.
class CountingIrqLine final : public IrqLine {
  public:
    void trigger() override { ++count_; }
    [[nodiscard]] int count() const { return count_; }

  private:
    std::atomic<int> count_{0};
};

/// A sink that keeps everything; `room` is what it answers.
class RecordingSink final : public ByteSink {
  public:
    bool put(std::span<const uint8_t> bytes) override {
        text.append(bytes.begin(), bytes.end());
        return room;
    }

    std::string text;
    bool room = true;
};

/// Byte-wide accesses to a device, as a driver on a PC makes them.
inline uint8_t in_byte(BusDevice& device, uint64_t offset) {
    std::array<std::byte, 1> data{std::byte{0xff}};
    device.read(offset, data);
    return std::to_integer<uint8_t>(data[0]);
}

inline void out_byte(BusDevice& device, uint64_t offset, uint8_t value) {
    const std::array<std::byte, 1> data{std::byte{value}};
    device.write(offset, data);
}

}  // namespace hull::test
