// The start of day structures of PVH, the entry that Linux and other kernels share with Xen's guests.
// Xen has no header for programs outside of it: these are declared after
// xen/include/public/arch-x86/hvm/start_info.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/guest_memory.h"
#include "boot/x86/boot_information.h"

namespace hull::boot::x86 {

inline constexpr uint32_t kHvmStartMagic = 0x336e'c578;

/// "struct hvm_start_info", version 1
struct HvmStartInfo {
    uint32_t magic = kHvmStartMagic;
    uint32_t version = 1;
    uint32_t flags = 0;
    uint32_t module_count = 0;
    uint64_t modules = 0;  ///< address of HvmModule[module_count]
    uint64_t cmdline = 0;
    uint64_t rsdp = 0;
    uint64_t memory_map = 0;  ///< address of HvmMemoryMapEntry[memory_map_entries]
    uint32_t memory_map_entries = 0;
    uint32_t reserved = 0;
};
static_assert(sizeof(HvmStartInfo) == 56);

/// "struct hvm_modlist_entry"; the first module is the initramfs.
struct HvmModule {
    uint64_t address = 0;
    uint64_t size = 0;
    uint64_t cmdline = 0;
    uint64_t reserved = 0;
};
static_assert(sizeof(HvmModule) == 32);

/// "struct hvm_memmap_table_entry"
struct HvmMemoryMapEntry {
    uint64_t address = 0;
    uint64_t size = 0;
    uint32_t type = 0;
    uint32_t reserved = 0;
};
static_assert(sizeof(HvmMemoryMapEntry) == 24);

/// HvmStartInfo and behind it all that it points to, for memory at `base` (a multiple of 8).
std::vector<std::byte> make_start_info(const BootInformation& information, GuestAddress base);

}  // namespace hull::boot::x86
