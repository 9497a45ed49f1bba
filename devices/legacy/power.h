// Power off, reset and the power button, behind the registers of base/device_node.h (power_registers).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/irq_line.h"
#include "devices/bus/bus.h"
#include "devices/legacy/guest_request.h"

namespace hull {

/// Any thread may call any member.
class Power final : public BusDevice {
  public:
    static constexpr uint64_t kSize = 0x1000;

    /// `irq` must outlive the device.
    Power(IrqLine& irq, GuestRequestHandler on_request);

    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

    void resume() override;
    /// A button that was pressed and not yet seen.
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

    /// Tells the guest that somebody pressed the power button. What it makes of it is its own affair.
    void press_button();

  private:
    IrqLine& irq_;
    const GuestRequestHandler on_request_;
    std::atomic<uint32_t> events_{0};
};

}  // namespace hull
