// The DSDT's definition block: the platform's devices as ACPI objects.
#pragma once

#include "boot/platform.h"
#include "boot/x86/aml.h"

namespace hull::boot::x86 {

/// AML for everything in `platform.devices`, in that order, and \_S5 where it can power itself off.
/// std::logic_error for a node that cannot be described (memory above 4 GiB, more than 255 ports).
aml::Term dsdt_body(const Platform& platform);

}  // namespace hull::boot::x86
