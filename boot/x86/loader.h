// From files to a guest that can take its first instruction (x86-64).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "base/unique_fd.h"
#include "boot/platform.h"

namespace hull::boot::x86 {

/// What is to be booted.
struct BootSources {
    InputFile kernel;
    std::vector<InputFile> initramfs;  ///< joined in this order, each padded to 4 bytes
    std::string cmdline;
    PlatformTables tables = PlatformTables::acpi;
    uint64_t kernel_place = 0;  ///< a random number of the host's, from which the kernel's place is chosen
    /// Random bytes of the host's for the guest's generator, which then need not wait for events to gather
    /// any. A kernel entered by PVH cannot be told.
    std::optional<std::array<std::byte, 32>> random_seed;
};

/// The registers of the boot vCPU that differ from its state after reset. Everything else follows from the
/// mode: flat segments from the GDT that the loader put into memory, interrupts off.
struct EntryState {
    enum class Mode {
        long_mode,       ///< 64-bit, paging on with the identity map at `page_table`
        protected_mode,  ///< 32-bit, paging off (PVH)
    };
    Mode mode = Mode::long_mode;
    uint64_t instruction_pointer = 0;
    uint64_t stack_pointer = 0;
    uint64_t boot_data = 0;   ///< RSI = boot_params in long mode, RBX = hvm_start_info in protected mode
    uint64_t page_table = 0;  ///< CR3 in long mode
    uint64_t gdt = 0;         ///< address of the descriptor table (see segment selectors below)
    uint16_t gdt_limit = 0;   ///< size of the table in bytes - 1
};

/// Selectors in the GDT of the loader: what the Linux boot protocol asks for (__BOOT_CS, __BOOT_DS) and the
/// task segment that the processor needs in protected mode.
inline constexpr uint16_t kCodeSelector = 0x10;
inline constexpr uint16_t kDataSelector = 0x18;
inline constexpr uint16_t kTaskSelector = 0x20;

/// RAM starts at 0 and goes up to here without a gap at most; the rest of it starts at kHighMemoryStart.
/// Between lie the windows of devices, the interrupt controllers and what KVM keeps for itself.
inline constexpr uint64_t kLowMemoryEnd = 0xc000'0000;
inline constexpr uint64_t kHighMemoryStart = 0x1'0000'0000;

/// The ranges of RAM for a guest with `bytes` of memory (a multiple of 4 KiB, at least 1 MiB).
std::vector<GuestRange> memory_layout(uint64_t bytes);

/// Puts kernel, initramfs, command line and tables into `memory`, which is fresh (zeros), and says how to
/// start. What is where in the first MiB is told in boot/x86/layout.h. The kernel's place is random unless
/// the word "nokaslr" stands on the command line. Throws Error: bad_file for files that cannot be booted,
/// usage for a command line longer than the kernel takes, no_resources where the memory is too small.
EntryState load(const BootSources& sources, const Platform& platform, GuestMemory& memory);

}  // namespace hull::boot::x86
