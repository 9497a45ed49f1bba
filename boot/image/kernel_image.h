// A kernel file taken apart and put into guest memory: the interface that boot/x86/loader.h stands on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/guest_memory.h"
#include "base/unique_fd.h"

namespace hull::boot {

/// What the caller wants of the load.
struct LoadOptions {
    /// Randomize the kernel's place where the image carries its relocations.
    bool randomize = true;
    /// The PVH entry may be used where the ELF has one. False for a machine described by a device tree, which
    /// only the Linux boot protocol can hand over.
    bool allow_pvh = true;
    /// The bytes of initramfs that will be loaded too: a randomized kernel leaves that much room between its
    /// end and the end of its memory region (or initramfs_limit, where that is lower).
    uint64_t initramfs_size = 0;
    /// A random number, taken from the host by the caller (a fixed one in tests).
    uint64_t entropy = 0;
};

/// How the kernel wants to be entered.
enum class EntryProtocol {
    linux_64bit,  ///< Linux/x86 boot protocol, 64-bit entry: long mode, RSI = boot_params
    pvh,          ///< Xen PVH: 32-bit protected mode, EBX = hvm_start_info
};

/// A kernel that is in guest memory and can be entered.
struct LoadedKernel {
    EntryProtocol protocol = EntryProtocol::linux_64bit;
    GuestAddress entry{};
    /// All that the kernel occupies before it has read its memory map, its bss and the room it unpacks itself
    /// into included. The initramfs, tables and the command line must stay out of it.
    GuestRange occupied = GuestRange::of(0, 1);
    /// The setup header of a bzImage as it stands in the file from offset 0x1f1 to its end (Linux/x86 boot
    /// protocol, "THE REAL-MODE KERNEL HEADER"); empty for an ELF.
    std::vector<std::byte> setup_header;
    /// The longest command line that the kernel takes, without the terminating zero.
    uint32_t cmdline_limit = 2047;
    /// The highest address that the last byte of an initramfs may have.
    uint64_t initramfs_limit = 0xffffffff;
    /// The kernel was moved: KASLR_FLAG must be set in the boot parameters.
    bool randomized = false;
};

/// Reads the kernel file, tells its kind by its content, unpacks it and puts it into `memory`, which must
/// still be all zeros from 1 MiB up; outside of what the kernel occupies it is so again afterwards. Nothing
/// below 1 MiB is touched. Throws Error: bad_file where the file is not a kernel that can be started here
/// (truncated, corrupted, 32-bit only, …), no_resources where the guest's memory is too small for it.
LoadedKernel load_kernel(const InputFile& file, GuestMemory& memory, const LoadOptions& options);

}  // namespace hull::boot
