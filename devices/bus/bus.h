// Which device answers at which address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "base/state.h"

namespace hull {

/// A device as the bus sees it: registers at offsets. vCPU threads call at the same time; a device locks for
/// itself.
class BusDevice : public Stateful {
  public:
    /// Fills `data` (1, 2, 4 or 8 bytes, little-endian) from the registers at `offset`; `data` holds all ones
    /// when called. offset + data.size() never exceeds the device's range.
    virtual void read(uint64_t offset, std::span<std::byte> data) = 0;
    /// Takes what the guest wrote; sizes and offsets as in read().
    virtual void write(uint64_t offset, std::span<const std::byte> data) = 0;
};

/// One address space (ports or memory) with devices at ranges that do not overlap. attach() during set-up
/// only; after that read() and write() may be called from any thread, without a lock.
class Bus {
  public:
    /// Puts `device` (which must outlive the bus) at `range`. `name` is for messages.
    /// Throws Error (internal_failure) naming both where the range overlaps another device's.
    void attach(const GuestRange& range, BusDevice& device, std::string name);

    /// Reads from whatever answers at [address, address + data.size()). Where nothing does, or where the
    /// access runs past a device's end, the guest reads all ones, as from an empty bus; false then.
    bool read(GuestAddress address, std::span<std::byte> data) const;
    /// As read(): a write that no device takes is ignored; false then.
    bool write(GuestAddress address, std::span<const std::byte> data) const;

  private:
    struct Window {
        GuestRange range;
        BusDevice* device;
        std::string name;
    };

    [[nodiscard]] const Window* find(GuestAddress address, size_t size) const;

    std::vector<Window> windows_;  // by address
};

}  // namespace hull
