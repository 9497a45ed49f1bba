#include "devices/pci/config_space.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace hull::pci {

ConfigSpace::ConfigSpace(const Identity& identity) : last_link_{PCI_CAPABILITY_LIST} {
    put(PCI_VENDOR_ID, identity.vendor);
    put(PCI_DEVICE_ID, identity.device);
    put(PCI_CLASS_REVISION, identity.class_code << 8 | identity.revision);
    put(PCI_SUBSYSTEM_VENDOR_ID, identity.subsystem_vendor);
    put(PCI_SUBSYSTEM_ID, identity.subsystem);
    // What a driver sets there is kept and changes nothing: the address is fixed, and a device that is not to
    // be heard is reset.
    constexpr uint16_t kCommands = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
    std::memcpy(&writable_[PCI_COMMAND], &kCommands, sizeof kCommands);
}

template <typename T>
void ConfigSpace::put(size_t offset, T value) {
    std::memcpy(&bytes_.at(offset), &value, sizeof value);
}

void ConfigSpace::set_memory_bar(uint32_t address, uint32_t size) {
    bar_ = address | PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_32;
    bar_sizes_ = ~(size - 1);
    put(PCI_BASE_ADDRESS_0, bar_);
}

size_t ConfigSpace::add_capability(uint8_t id, std::span<const std::byte> content,
                                   std::span<const std::byte> writable) {
    const size_t start = end_;
    const size_t content_start = start + PCI_CAP_FLAGS;
    if (content_start + content.size() > kSize) {
        throw std::logic_error{"a PCI function has no room for another capability"};
    }
    put(last_link_, static_cast<uint8_t>(start));
    put(PCI_STATUS, uint16_t{PCI_STATUS_CAP_LIST});
    last_link_ = start + PCI_CAP_LIST_NEXT;
    put(start + PCI_CAP_LIST_ID, id);
    std::ranges::copy(content, bytes_.begin() + static_cast<ptrdiff_t>(content_start));
    std::ranges::copy(writable, writable_.begin() + static_cast<ptrdiff_t>(content_start));
    end_ = (content_start + content.size() + 3) / 4 * 4;  // 6.7: capabilities begin at multiples of 4
    return content_start;
}

void ConfigSpace::add_fixed_allocation() {
    struct [[gnu::packed]] {
        uint16_t entries = 1;
        uint32_t properties;
        uint32_t base;
        uint32_t last;  // offset; as of the base, the lowest two bits are not of it
    } allocation{};
    constexpr uint32_t kWordsThatFollow = 2;
    constexpr uint32_t kNoOtherProperties = PCI_EA_P_UNAVAILABLE << 16;
    allocation.properties =
        PCI_EA_ENABLE | kNoOtherProperties | PCI_EA_P_MEM << 8 | PCI_EA_BEI_BAR0 << 4 | kWordsThatFollow;
    allocation.base = bar_ & PCI_EA_FIELD_MASK;
    allocation.last = ~bar_sizes_ & PCI_EA_FIELD_MASK;
    add_capability(PCI_CAP_ID_EA, std::as_bytes(std::span{&allocation, 1}));
}

void ConfigSpace::read(uint64_t offset, std::span<std::byte> data) const {
    std::ranges::fill(data, std::byte{0});
    if (offset < kSize) {
        const size_t count = std::min(data.size(), kSize - static_cast<size_t>(offset));
        std::memcpy(data.data(), &bytes_[static_cast<size_t>(offset)], count);
    }
}

void ConfigSpace::write(uint64_t offset, std::span<const std::byte> data) {
    if (offset == PCI_BASE_ADDRESS_0 && data.size() == sizeof(uint32_t) && bar_sizes_ != 0) {
        uint32_t value = 0;
        std::memcpy(&value, data.data(), sizeof value);
        put(PCI_BASE_ADDRESS_0, value == ~uint32_t{0} ? bar_sizes_ : bar_);
        return;
    }
    for (size_t i = 0; i < data.size() && offset + i < kSize; ++i) {
        const size_t at = static_cast<size_t>(offset) + i;
        bytes_[at] = (bytes_[at] & ~writable_[at]) | (data[i] & writable_[at]);
    }
}

void ConfigSpace::load(StateReader& state) {
    const auto saved = state.get_bytes();
    state.require(saved.size() == kSize, "its configuration space has another size");
    for (size_t at = 0; at < kSize; ++at) {
        // Base address register 0 reads as its size for a moment, while the guest asks for it.
        const bool is_bar = at / sizeof bar_ == PCI_BASE_ADDRESS_0 / sizeof bar_;
        state.require(is_bar || ((saved[at] ^ bytes_[at]) & ~writable_[at]) == std::byte{0},
                      "it is another function, or at another place");
        if (!is_bar) {
            bytes_[at] = saved[at];
        }
    }
    uint32_t bar = 0;
    std::memcpy(&bar, &saved[PCI_BASE_ADDRESS_0], sizeof bar);
    state.require(bar == bar_ || bar == bar_sizes_, "its registers are at another place");
    put(PCI_BASE_ADDRESS_0, bar);
}

}  // namespace hull::pci
