// What a kernel is told at its entry, whichever protocol carries it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/guest_memory.h"
#include "boot/platform.h"

namespace hull::boot::x86 {

/// Address range types (ACPI 6.5, table 15.6); boot_params and PVH use the same numbers.
enum class MemoryType : uint32_t { ram = 1, reserved = 2, acpi = 3 };

/// One range of the map that a PC's firmware gives out by INT 15h, E820h.
struct MemoryMapEntry {
    GuestRange range;
    MemoryType type;
};

/// The guest's memory by address: RAM with the hole below 1 MiB (boot/x86/layout.h) taken out of it, and the
/// configuration space of PCI, which Linux believes in only where it is told to be reserved. The first range
/// of RAM starts at 0 and is larger than 1 MiB; only it ends before PCI.
std::vector<MemoryMapEntry> memory_map(const Platform& platform, PlatformTables tables);

struct BootInformation {
    GuestAddress cmdline{};               ///< a zero-terminated string
    std::optional<GuestRange> initramfs;  ///< below 4 GiB
    std::optional<GuestAddress> rsdp;     ///< where the machine is described by ACPI
    std::vector<MemoryMapEntry> memory_map;
};

}  // namespace hull::boot::x86
