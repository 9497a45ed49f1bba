// The configuration space of one PCI function (PCI Local Bus Specification 3.0, 6 "Configuration Space").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/state.h"

namespace hull::pci {

/// What identifies a function (6.2.1).
struct Identity {
    uint16_t vendor;
    uint16_t device;
    uint8_t revision;
    uint32_t class_code;  ///< base class, sub-class, programming interface: 24 bits
    uint16_t subsystem_vendor;
    uint16_t subsystem;
};

/// 256 bytes, of which the guest may change those bits only that were made writable. One thread at a time.
class ConfigSpace final : public Stateful {
  public:
    static constexpr size_t kSize = 256;

    explicit ConfigSpace(const Identity& identity);

    /// Sets up base address register 0 (6.2.5.1): 32-bit memory, not prefetchable. The address is fixed: its
    /// size can be asked for as usual, and a move is ignored. `size` is a power of two from 16, `address` a
    /// multiple of it.
    void set_memory_bar(uint32_t address, uint32_t size);

    /// Appends a capability (6.7): `content` is what follows its two bytes of header, `writable` the bits of
    /// it that the guest may change (empty: none; else as long). Answers where `content` begins.
    /// std::logic_error where there is no room.
    size_t add_capability(uint8_t id, std::span<const std::byte> content,
                          std::span<const std::byte> writable = {});

    /// Appends the capability that says of base address register 0 that its address is fixed (PCI Express
    /// Base Specification 4.0, 7.8.5 "Enhanced Allocation Capability Structure (EA)"). Linux gives a function
    /// that it finds later than the others a new address otherwise, and believes that it has moved there.
    /// Behind set_memory_bar(); a guest that does not know it goes by the register, which works as ever.
    void add_fixed_allocation();

    /// Fills `data` from `offset` on; what lies beyond the space reads as zeros (no extended capabilities).
    void read(uint64_t offset, std::span<std::byte> data) const;
    void write(uint64_t offset, std::span<const std::byte> data);

    void save(StateWriter& state) const override { state.put_bytes(bytes_); }
    /// Takes what the guest may have changed; the rest must be the same.
    void load(StateReader& state) override;

    /// What stands at `offset`, which is within the space.
    template <typename T>
    [[nodiscard]] T get(size_t offset) const {
        T value{};
        read(offset, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }

  private:
    template <typename T>
    void put(size_t offset, T value);

    std::array<std::byte, kSize> bytes_{};
    std::array<std::byte, kSize> writable_{};
    size_t end_ = 0x40;       // of the capabilities
    size_t last_link_;        // where the next capability's place is to be written
    uint32_t bar_ = 0;        // what base address register 0 reads as
    uint32_t bar_sizes_ = 0;  // and while it is asked for its size
};

}  // namespace hull::pci
