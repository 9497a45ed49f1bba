#include "devices/legacy/power.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/device_node.h"

namespace hull {

namespace registers = power_registers;

Power::Power(IrqLine& irq, GuestRequestHandler on_request) : irq_{irq}, on_request_{std::move(on_request)} {}

void Power::read(uint64_t offset, std::span<std::byte> data) {
    uint32_t value = 0;
    if (offset == registers::kEvents) {
        value = events_.exchange(0);
    }
    std::memset(data.data(), 0, data.size());
    std::memcpy(data.data(), &value, std::min(data.size(), sizeof value));
}

void Power::write(uint64_t offset, std::span<const std::byte> data) {
    const auto value = std::to_integer<uint8_t>(data[0]);
    if (offset == registers::kSleepControl) {
        // Other sleep types are not offered to the guest, so nothing happens for them.
        if (value == (registers::kSleepTypeOff << 2 | registers::kSleepEnable)) {
            on_request_(GuestRequest::power_off);
        }
    } else if (offset == registers::kReset && value == registers::kResetValue) {
        on_request_(GuestRequest::reset);
    }
}

void Power::press_button() {
    events_.fetch_or(registers::kEventPowerButton);
    irq_.trigger();
}

void Power::resume() {
    if (events_ != 0) {
        irq_.trigger();  // the guest may not have seen it
    }
}

void Power::save(StateWriter& state) const {
    state.begin("power");
    state.put(events_.load());
}

void Power::load(StateReader& state) {
    state.begin("power");
    events_ = state.get<uint32_t>() & registers::kEventPowerButton;
}

}  // namespace hull
