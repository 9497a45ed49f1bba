// A compressed kernel for x86: the bzImage of the Linux/x86 boot protocol (Documentation/arch/x86/boot.rst).
#pragma once

#include <asm/bootparam.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace hull::boot {

/// Where the setup header stands in a bzImage and in struct boot_params.
inline constexpr size_t kSetupHeaderOffset = 0x1f1;

/// The parts of a bzImage, checked; the spans point into the file.
struct BzImage {
    /// The fields that this program knows; those behind the file's own header's end are zero.
    setup_header header{};
    /// From kSetupHeaderOffset to the header's end as the file says: fits into struct boot_params.
    std::span<const std::byte> raw_header;
    /// What follows the real-mode part: the code that unpacks the kernel, with the payload in it. Not empty.
    std::span<const std::byte> protected_mode;
    /// The compressed kernel; at least 4 bytes, of which the last are the unpacked size.
    std::span<const std::byte> payload;
};

/// Whether the file has the marks of a Linux/x86 kernel with a boot protocol of 2.00 or later.
[[nodiscard]] bool is_bzimage(std::span<const std::byte> file);

/// Takes a file apart for which is_bzimage() holds. Throws BadImage where it is cut off or inconsistent,
/// older than boot protocol 2.12 (Linux 3.8), or has no 64-bit entry.
[[nodiscard]] BzImage parse_bzimage(std::span<const std::byte> file);

/// Where the protected-mode part is to be loaded so that the kernel unpacks itself in place: pref_address,
/// which it moves itself to anyway. Throws BadImage where it is misaligned or leads past 4 GiB.
[[nodiscard]] uint64_t self_unpacking_address(const BzImage& image);

}  // namespace hull::boot
