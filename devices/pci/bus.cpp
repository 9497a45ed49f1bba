#include "devices/pci/bus.h"

#include <cstring>

namespace hull::pci {

namespace {

/// Whether an access ends in the piece of `size` that it begins in.
bool stays_within(uint64_t offset, size_t length, uint64_t size) {
    return offset % size + length <= size;
}

}  // namespace

Function* PciBus::function_at(uint64_t ecam_offset) const {
    const uint64_t number = ecam_offset / kConfigSize;
    return number % 8 == 0 ? functions_.at(number / 8).load() : nullptr;  // no slot has more than function 0
}

void PciBus::Ecam::read(uint64_t offset, std::span<std::byte> data) {
    Function* function = bus_.function_at(offset);
    if (function != nullptr && stays_within(offset, data.size(), kConfigSize)) {
        function->read_config(offset % kConfigSize, data);
    }
}

void PciBus::Ecam::write(uint64_t offset, std::span<const std::byte> data) {
    Function* function = bus_.function_at(offset);
    if (function != nullptr && stays_within(offset, data.size(), kConfigSize)) {
        function->write_config(offset % kConfigSize, data);
    }
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
    Function* function = bus_.functions_.at(offset / kRegistersSize);
    if (function != nullptr && stays_within(offset, data.size(), kRegistersSize)) {
        function->read_registers(offset % kRegistersSize, data);
    }
}

void PciBus::Window::write(uint64_t offset, std::span<const std::byte> data) {
    Function* function = bus_.functions_.at(offset / kRegistersSize);
    if (function != nullptr && stays_within(offset, data.size(), kRegistersSize)) {
        function->write_registers(offset % kRegistersSize, data);
    }
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
    for (Function* function : functions_) {
        if (function != nullptr) {
            function->quiesce();
        }
    }
}

void PciBus::resume() {
    for (Function* function : functions_) {
        if (function != nullptr) {
            function->resume();
        }
    }
}

void PciBus::save(StateWriter& state) const {
    state.begin("pci");
    ports_.save(state);
    for (const Function* function : functions_) {
        state.put(function != nullptr);
        if (function != nullptr) {
            function->save(state);
        }
    }
}

void PciBus::load(StateReader& state) {
    state.begin("pci");
    ports_.load(state);
    for (Function* function : functions_) {
        state.require(state.get<bool>() == (function != nullptr), "it has functions in other slots");
        if (function != nullptr) {
            function->load(state);
        }
    }
}

}  // namespace hull::pci
