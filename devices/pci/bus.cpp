#include "devices/pci/bus.h"

#include <algorithm>
#include <cstring>

namespace hull::pci {

template <uint64_t kSize, uint64_t kPerSlot, typename Use>
void PciBus::access(uint64_t offset, size_t length, const Use& use) {
    const uint64_t piece = offset / kSize;
    if (piece % kPerSlot != 0 || offset % kSize + length > kSize) {
        return;
    }
    Slot& slot = slots_.at(piece / kPerSlot);
    // Who finds the slot empty does not take the lock: else a guest that goes on asking could keep unplug()
    // waiting.
    if (slot.function == nullptr) {
        return;
    }
    const std::shared_lock lock{slot.in_use};
    if (Function* function = slot.function) {
        use(*function, offset % kSize);
    }
}

void PciBus::unplug(uint32_t number) {
    Slot& slot = slots_.at(number);
    slot.function = nullptr;
    const std::lock_guard lock{slot.in_use};
}

void PciBus::Ecam::read(uint64_t offset, std::span<std::byte> data) {
    bus_.access<kConfigSize, kFunctions>(
        offset, data.size(), [data](Function& function, uint64_t at) { function.read_config(at, data); });
}

void PciBus::Ecam::write(uint64_t offset, std::span<const std::byte> data) {
    bus_.access<kConfigSize, kFunctions>(
        offset, data.size(), [data](Function& function, uint64_t at) { function.write_config(at, data); });
}

uint64_t PciBus::Ports::target(uint64_t offset) {
    // Bit 31 enables; bits 16 to 23 are the bus, 11 to 15 the slot, 8 to 10 the function, 2 to 7 the
    // register.
    constexpr uint32_t kEnabledAndBus = 0x80ff'0000;
    constexpr uint32_t kBus0 = 0x8000'0000;
    const std::lock_guard lock{mutex_};
    if ((address_ & kEnabledAndBus) != kBus0) {
        return kEcamSize;
    }
    return (address_ >> 8 & 0xff) * kConfigSize + (address_ & 0xfc) + (offset - sizeof address_);
}

void PciBus::Ports::read(uint64_t offset, std::span<std::byte> data) {
    if (offset == 0 && data.size() == sizeof address_) {
        const std::lock_guard lock{mutex_};
        std::memcpy(data.data(), &address_, sizeof address_);
    } else if (offset >= sizeof address_) {
        if (const uint64_t at = target(offset); at < kEcamSize) {
            bus_.ecam_.read(at, data);
        }
    }
}

void PciBus::Ports::write(uint64_t offset, std::span<const std::byte> data) {
    if (offset == 0 && data.size() == sizeof address_) {
        const std::lock_guard lock{mutex_};
        std::memcpy(&address_, data.data(), sizeof address_);
    } else if (offset >= sizeof address_) {
        if (const uint64_t at = target(offset); at < kEcamSize) {
            bus_.ecam_.write(at, data);
        }
    }
}

void PciBus::Window::read(uint64_t offset, std::span<std::byte> data) {
    // A bus has ones where nobody answers. But Linux's driver resets a device when it lets go of it or powers
    // off, and waits until the status is zero, for ever where the device was taken away from it.
    std::ranges::fill(data, std::byte{0});
    bus_.access<kRegistersSize, 1>(
        offset, data.size(), [data](Function& function, uint64_t at) { function.read_registers(at, data); });
}

void PciBus::Window::write(uint64_t offset, std::span<const std::byte> data) {
    bus_.access<kRegistersSize, 1>(
        offset, data.size(), [data](Function& function, uint64_t at) { function.write_registers(at, data); });
}

void PciBus::Ports::save(StateWriter& state) const {
    const std::lock_guard lock{mutex_};
    state.put(address_);
}

void PciBus::Ports::load(StateReader& state) {
    const std::lock_guard lock{mutex_};
    address_ = state.get<uint32_t>();
}

void PciBus::quiesce() {
    for (const Slot& slot : slots_) {
        if (Function* function = slot.function) {
            function->quiesce();
        }
    }
}

void PciBus::resume() {
    for (const Slot& slot : slots_) {
        if (Function* function = slot.function) {
            function->resume();
        }
    }
}

void PciBus::save(StateWriter& state) const {
    state.begin("pci");
    ports_.save(state);
    for (const Slot& slot : slots_) {
        const Function* function = slot.function;
        state.put(function != nullptr);
        if (function != nullptr) {
            function->save(state);
        }
    }
}

void PciBus::load(StateReader& state) {
    state.begin("pci");
    ports_.load(state);
    for (const Slot& slot : slots_) {
        Function* function = slot.function;
        state.require(state.get<bool>() == (function != nullptr), "it has functions in other slots");
        if (function != nullptr) {
            function->load(state);
        }
    }
}

}  // namespace hull::pci
