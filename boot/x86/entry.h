// What the processor itself reads before a kernel has tables of its own: descriptors and page tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/guest_memory.h"
#include "boot/x86/loader.h"

namespace hull::boot::x86 {

/// The descriptor table with the selectors of boot/x86/loader.h: flat segments from 0 to 4 GiB; code of 64 or
/// of 32 bits (Intel SDM 3A, 3.4.5 and 7.2.3).
std::vector<std::byte> descriptor_table(EntryState::Mode mode);

/// Page tables for memory at `base` (a multiple of 4 KiB), the PML4 first, that map every address below `end`
/// to itself by pages of 2 MiB (Intel SDM 3A, 4.5). `end` is above 0 and at most 512 GiB.
std::vector<std::byte> identity_map(GuestAddress base, uint64_t end);

}  // namespace hull::boot::x86
