#include "boot/x86/boot_information.h"

#include <stdexcept>

#include "boot/x86/layout.h"

namespace hull::boot::x86 {

std::vector<MemoryMapEntry> memory_map(const Platform& platform, PlatformTables tables) {
    using namespace layout;
    const std::vector<GuestRange>& memory = platform.memory;
    if (memory.empty() || raw(memory.front().start()) != 0 || memory.front().size() <= kOneMiB) {
        throw std::logic_error{"the guest's first memory does not reach from 0 past 1 MiB"};
    }
    const uint64_t acpi = raw(kAcpiTables.start());
    const uint64_t acpi_end = raw(kAcpiTables.last()) + 1;
    std::vector<MemoryMapEntry> map{
        {GuestRange::of(0, kConventionalEnd), MemoryType::ram},
        {GuestRange::of(kConventionalEnd, acpi - kConventionalEnd), MemoryType::reserved},
        {kAcpiTables, tables == PlatformTables::acpi ? MemoryType::acpi : MemoryType::reserved},
        {GuestRange::of(acpi_end, kOneMiB - acpi_end), MemoryType::reserved},
        {GuestRange::of(kOneMiB, memory.front().size() - kOneMiB), MemoryType::ram},
    };
    if (platform.pci) {
        map.push_back({platform.pci->configuration, MemoryType::reserved});
    }
    for (size_t i = 1; i < memory.size(); ++i) {
        map.push_back({memory[i], MemoryType::ram});
    }
    return map;
}

}  // namespace hull::boot::x86
