// The PC's clock chip (Motorola MC146818A data sheet): time of day from the host's clock, and its
// battery-backed bytes.
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <mutex>

#include "devices/bus/bus.h"

namespace hull {

/// Tells the time (UTC) and never calls: it has no alarm and no interrupt. What the guest sets the clock to
/// is ignored; its other bytes are kept while the machine runs. Any thread.
class Rtc final : public BusDevice {
  public:
    static constexpr uint64_t kFirstPort = 0x70;
    static constexpr uint64_t kPorts = 2;

    /// `now` gives seconds since 1970 in UTC; the host's clock where it is left out.
    explicit Rtc(std::function<std::time_t()> now = [] { return std::time(nullptr); });

    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

    /// Without the time, which is always the host's.
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

  private:
    [[nodiscard]] uint8_t read_register(uint8_t index) const;

    const std::function<std::time_t()> now_;
    mutable std::mutex mutex_;
    uint8_t index_ = 0;
    std::array<uint8_t, 128> bytes_{};
};

}  // namespace hull
