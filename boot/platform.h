// The machine as a guest's firmware tables will tell it: no kernel, no KVM, no device code.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/device_node.h"
#include "base/guest_memory.h"

namespace hull::boot {

/// What ACPI tables or a device tree are rendered from. A value; checked by whoever fills it in.
struct Platform {
    uint32_t cpus = 1;                ///< 1 to 254; CPU n has local APIC id n
    std::vector<GuestRange> memory;   ///< RAM by address; the first starts at 0
    std::vector<DeviceNode> devices;  ///< in the order in which the guest should find them
    std::optional<PciHost> pci{};
};

/// How the platform is described to the guest.
enum class PlatformTables { acpi, fdt };

}  // namespace hull::boot
