// The "zero page": what the Linux/x86 boot protocol hands to a kernel (Linux, Documentation/arch/x86/boot.rst
// and zero-page.rst).
#pragma once

#include <asm/bootparam.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/guest_memory.h"
#include "boot/image/kernel_image.h"
#include "boot/x86/boot_information.h"

namespace hull::boot::x86 {

/// boot_params for `kernel`: its own setup header where it has one, else one that says what a 64-bit kernel
/// asks for. `setup_data` is the first node of the list (see write_setup_data()), or nothing. `legacy_free`
/// says that only what is described is there, so that a kernel without ACPI does not look for a PC's clock
/// and keyboard controller. std::logic_error where the memory map has more than 128 entries.
boot_params make_zero_page(const BootInformation& information, const LoadedKernel& kernel,
                           std::optional<GuestAddress> setup_data, bool legacy_free);

/// Writes one node of the setup_data list ("struct setup_data") to the start of `room`, with `next` behind
/// it, and answers its address. `type` is one of SETUP_*. std::logic_error where it does not fit.
GuestAddress write_setup_data(GuestMemory& memory, const GuestRange& room, uint32_t type,
                              std::span<const std::byte> payload, std::optional<GuestAddress> next);

}  // namespace hull::boot::x86
