#include "devices/pci/msix.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace hull::pci {

namespace {

bool fits(uint64_t offset, size_t size) {
    return (size == 4 || size == 8) && offset % size == 0;
}

}  // namespace

Msix::Msix(std::vector<std::unique_ptr<MessageInterrupt>> vectors) {
    for (auto& interrupt : vectors) {
        vectors_.emplace_back().interrupt = std::move(interrupt);
    }
}

void Msix::trigger(size_t vector) {
    const std::lock_guard lock{mutex_};
    if (vector < vectors_.size() && enabled_) {
        vectors_[vector].pending = true;
        settle(vectors_[vector]);
    }
}

void Msix::settle(Vector& vector) {
    if (!enabled_ || all_masked_ || vector.masked) {
        return;
    }
    if (!std::exchange(vector.routed, true)) {
        vector.interrupt->route(vector.address, vector.data);
    }
    if (std::exchange(vector.pending, false)) {
        vector.interrupt->trigger();
    }
}

void Msix::set_control(uint16_t control) {
    const std::lock_guard lock{mutex_};
    enabled_ = (control & PCI_MSIX_FLAGS_ENABLE) != 0;
    all_masked_ = (control & PCI_MSIX_FLAGS_MASKALL) != 0;
    std::ranges::for_each(vectors_, [this](Vector& vector) { settle(vector); });
}

void Msix::read_table(uint64_t offset, std::span<std::byte> data) const {
    const std::lock_guard lock{mutex_};
    std::ranges::fill(data, std::byte{0});
    if (!fits(offset, data.size()) || offset / kEntrySize >= vectors_.size()) {
        return;
    }
    const Vector& vector = vectors_[static_cast<size_t>(offset / kEntrySize)];
    const uint64_t words[2] = {
        vector.address, vector.data | uint64_t{vector.masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0U} << 32};
    std::memcpy(data.data(), std::as_bytes(std::span{words}).data() + offset % kEntrySize, data.size());
}

void Msix::write_table(uint64_t offset, std::span<const std::byte> data) {
    const std::lock_guard lock{mutex_};
    if (!fits(offset, data.size()) || offset / kEntrySize >= vectors_.size()) {
        return;
    }
    Vector& vector = vectors_[static_cast<size_t>(offset / kEntrySize)];
    uint32_t words[4] = {static_cast<uint32_t>(vector.address), static_cast<uint32_t>(vector.address >> 32),
                         vector.data, vector.masked ? uint32_t{PCI_MSIX_ENTRY_CTRL_MASKBIT} : 0};
    std::memcpy(std::as_writable_bytes(std::span{words}).data() + offset % kEntrySize, data.data(),
                data.size());
    const uint64_t address = words[0] | uint64_t{words[1]} << 32;
    vector.routed = vector.routed && address == vector.address && words[2] == vector.data;
    vector.address = address;
    vector.data = words[2];
    vector.masked = (words[3] & PCI_MSIX_ENTRY_CTRL_MASKBIT) != 0;
    settle(vector);
}

void Msix::read_pending(uint64_t offset, std::span<std::byte> data) const {
    const std::lock_guard lock{mutex_};
    std::ranges::fill(data, std::byte{0});
    if (!fits(offset, data.size())) {
        return;
    }
    for (size_t bit = 0; bit < 8 * data.size() && 8 * offset + bit < vectors_.size(); ++bit) {
        if (vectors_[static_cast<size_t>(8 * offset) + bit].pending) {
            data[bit / 8] |= std::byte{1} << (bit % 8);
        }
    }
}

void Msix::save(StateWriter& state) const {
    const std::lock_guard lock{mutex_};
    state.put(static_cast<uint16_t>(vectors_.size()));
    for (const Vector& vector : vectors_) {
        state.put(vector.address);
        state.put(vector.data);
        state.put(vector.masked);
        state.put(vector.pending);
    }
}

void Msix::load(StateReader& state) {
    const std::lock_guard lock{mutex_};
    state.require(state.get<uint16_t>() == vectors_.size(), "it has another number of interrupts");
    for (Vector& vector : vectors_) {
        vector.address = state.get<uint64_t>();
        vector.data = state.get<uint32_t>();
        vector.masked = state.get<bool>();
        vector.pending = state.get<bool>();
        vector.routed = false;
    }
}

}  // namespace hull::pci
