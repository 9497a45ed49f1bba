// The platform as ACPI tables (ACPI 6.5, "hardware-reduced": no fixed hardware, so no ports or timers of a
// PC's chipset).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/guest_memory.h"
#include "boot/platform.h"

namespace hull::boot::x86 {

/// Where the interrupt controllers answer that every x86 machine of Hull's has (KVM's own), as tables tell
/// them.
inline constexpr uint32_t kIoApicAddress = 0xfec0'0000;
inline constexpr uint32_t kLocalApicAddress = 0xfee0'0000;
/// No CPU's local APIC has this id: CPUs end at 253, and 255 calls all of them.
inline constexpr uint8_t kIoApicId = 254;

/// RSDP, XSDT, FADT, MADT, DSDT and, where there is PCI, MCFG for memory at `base` (a multiple of 16), in one
/// piece with the RSDP at its start. Nothing else: each further table is something that a guest would probe
/// and wait for. std::logic_error for a platform that cannot be described.
std::vector<std::byte> acpi_tables(const Platform& platform, GuestAddress base);

}  // namespace hull::boot::x86
