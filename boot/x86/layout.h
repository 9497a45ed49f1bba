// Where the loader puts what is not the kernel or its initramfs: all of it in the first MiB, which a guest's
// kernel keeps clear of, so that no page is touched that the guest would not touch anyway.
//
// | from    | to      | what                                                                            |
// | ------- | ------- | ------------------------------------------------------------------------------- |
// | 0x00000 | 0x00fff | zeros: a kernel reads the BIOS data area (0x400) and must find nothing          |
// | 0x01000 | 0x01fff | global descriptor table                                                         |
// | 0x02000 | 0x02fff | boot_params ("zero page"), or hvm_start_info and what it points to (PVH)        |
// | 0x03000 | 0x03fff | setup_data: seed for the guest's random number generator                        |
// | 0x04000 | 0x0ffff | page tables: one PML4, one PDPT, a page directory for every GiB mapped          |
// | 0x10000 | 0x1ffff | stack, growing down from the end, for the few pushes before a kernel has its own|
// | 0x20000 | 0x2ffff | command line                                                                    |
// | 0x30000 | 0x6ffff | setup_data: device tree                                                         |
// | 0x70000 | 0x9fbff | free RAM: kernels put their real-mode start-up code for other CPUs here         |
// | 0x9fc00 | 0xdffff | told to be reserved                                                             |
// | 0xe0000 | 0xfefff | ACPI tables, the RSDP first, where the search in a PC's ROM area finds it too   |
// | 0xff000 | 0xfffff | told to be reserved; at 0xffff0 the code that a kernel restarts a PC's BIOS by  |
// | 1 MiB   |         | RAM: the kernel where it wants to be, the initramfs as high as it may be        |
#pragma once

#include <cstdint>

#include "base/guest_memory.h"

namespace hull::boot::x86::layout {

inline constexpr GuestRange kGdt = GuestRange::of(0x1000, 0x1000);
inline constexpr GuestRange kBootData = GuestRange::of(0x2000, 0x1000);
inline constexpr GuestRange kRandomSeed = GuestRange::of(0x3000, 0x1000);
inline constexpr GuestRange kPageTables = GuestRange::of(0x4000, 0xc000);
inline constexpr GuestRange kStack = GuestRange::of(0x1'0000, 0x1'0000);
inline constexpr GuestRange kCommandLine = GuestRange::of(0x2'0000, 0x1'0000);
inline constexpr GuestRange kDeviceTree = GuestRange::of(0x3'0000, 0x4'0000);
/// Where RAM ends that a kernel may use below 1 MiB: a PC's extended BIOS data area begins here.
inline constexpr uint64_t kConventionalEnd = 0x9'fc00;
inline constexpr GuestRange kAcpiTables = GuestRange::of(0xe'0000, 0x1'f000);
/// Where a processor starts after a reset, as real mode sees it (F000:FFF0).
inline constexpr GuestRange kResetVector = GuestRange::of(0xf'fff0, 0x10);
/// Where RAM goes on, and the lowest address for a kernel or an initramfs.
inline constexpr uint64_t kOneMiB = 0x10'0000;

}  // namespace hull::boot::x86::layout
