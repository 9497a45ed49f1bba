// Randomizing a kernel's place from outside, as its own unpacker would from inside (Linux
// arch/x86/boot/compressed/{kaslr,misc}.c): the monitor unpacks the kernel, so it does this part too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/guest_memory.h"

namespace hull::boot {

/// The table of relocations that the kernel's build (CONFIG_X86_NEED_RELOCS) appends to the ELF file:
/// addresses in the kernel, 4 bytes each in little endian and to be sign-extended, of what must change with
/// the kernel's virtual address.
struct Relocations {
    std::span<const std::byte> absolute32;  ///< of 32-bit values that grow with the address
    std::span<const std::byte> inverse32;   ///< of 32-bit values that shrink; none since Linux 6.15
    std::span<const std::byte> absolute64;  ///< of 64-bit values that grow
};

/// Recognises the table in what follows the ELF file: lists from the back to the front, each ended by a zero
/// in front: absolute32, inverse32 (not since Linux 6.15) and absolute64, together exactly as long as
/// `table`. Nothing where `table` is something else, for example empty.
[[nodiscard]] std::optional<Relocations> find_relocations(std::span<const std::byte> table);

/// Applies all. `image` is the kernel as loaded, from its lowest address, which it was linked to find at
/// physical address `link_address` (virtual kKernelMap + that) and will run at virtual_offset bytes (below 1
/// GiB) above. Throws BadImage at an entry that lies outside `image` or whose value would overflow; `image`
/// is then spoilt.
void apply_relocations(const Relocations& relocations, std::span<std::byte> image, uint64_t link_address,
                       uint64_t virtual_offset);

/// How far a kernel is moved from where it was linked to be, in bytes; multiples of 2 MiB.
struct RandomOffsets {
    uint64_t physical_offset = 0;
    uint64_t virtual_offset = 0;
};

/// Chooses both evenly among the places that there are, from one random number. `extent` is what the kernel
/// occupies where it was linked to be; it stays inside the 1 GiB of the kernel's virtual map. In physical
/// memory all that lies from `extent`'s start to `used_end` moves with it and must stay below `memory_end`;
/// where it does not fit at all there is no physical offset.
[[nodiscard]] RandomOffsets random_offsets(const GuestRange& extent, uint64_t used_end, uint64_t memory_end,
                                           uint64_t entropy);

}  // namespace hull::boot
