// An uncompressed kernel: an ELF file for x86-64 ("vmlinux").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/guest_memory.h"

namespace hull::boot {

/// Where Linux's x86-64 kernel maps itself: a kernel linked for physical address P has the virtual address
/// kKernelMap + P (Documentation/arch/x86/x86_64/mm.rst).
inline constexpr uint64_t kKernelMap = 0xffff'ffff'8000'0000;

/// A part of the file, in bytes.
struct FilePart {
    uint64_t offset = 0;
    uint64_t size = 0;
};

/// A PT_LOAD segment: `file` is put at the start of `memory`, the rest of `memory` is zeros.
struct ElfSegment {
    FilePart file;  ///< inside the file; may be empty, and is never larger than `memory`
    GuestRange memory;
};

/// The headers of an ELF kernel, checked.
struct ElfImage {
    /// At least one, by rising address and by rising file offset, none overlapping another; all between 1 MiB
    /// and 4 GiB.
    std::vector<ElfSegment> segments;
    /// From the first segment's start to the last one's end.
    GuestRange extent = GuestRange::of(0, 1);
    /// A physical address inside a segment.
    GuestAddress entry{};
    /// The PT_NOTE segments, all inside the file.
    std::vector<FilePart> notes;
    /// Where the ELF file's own parts end, as its headers say: what the kernel's build appended (its
    /// relocations) begins here. At most the file's size.
    uint64_t end = 0;
    /// The first segment is linked at kKernelMap + its physical address, as Linux is.
    bool linux_map = false;

    /// Whether a segment occupies this address.
    [[nodiscard]] bool contains(GuestAddress address) const;
};

/// Whether a file starts as an ELF file does.
[[nodiscard]] bool is_elf(std::span<const std::byte> file);

/// Checks the ELF header and program headers of a file of `file_size` bytes of which `start` is the beginning
/// (or all); the headers must lie in `start`. Throws BadImage where this is no 64-bit x86 executable with
/// segments as described above.
[[nodiscard]] ElfImage parse_elf(std::span<const std::byte> start, uint64_t file_size);

/// The 32-bit entry of Xen's PVH protocol, from the note XEN_ELFNOTE_PHYS32_ENTRY
/// (xen/include/public/elfnote.h) in a PT_NOTE segment's bytes; nothing where it is not there or the notes
/// are malformed.
[[nodiscard]] std::optional<GuestAddress> find_pvh_entry(std::span<const std::byte> notes);

/// Copies the segments from `file`, which holds what parse_elf() was told of, to their places moved up by
/// `offset` bytes. `file` may lie in `memory` itself so that no segment's place is above its bytes: then
/// bytes that lie right are left alone. Zeros are not written. Throws BadImage (no_resources) where the
/// guest's memory does not hold them.
void place_segments(const ElfImage& image, std::span<const std::byte> file, GuestMemory& memory,
                    uint64_t offset);

}  // namespace hull::boot
