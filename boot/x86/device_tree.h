// The platform as a device tree that Linux on x86 takes (arch/x86/kernel/devicetree.c, by SETUP_DTB).
#pragma once

#include <cstddef>
#include <vector>

#include "boot/platform.h"

namespace hull::boot::x86 {

/// CPUs, interrupt controllers and devices. Memory is told by the e820 map, and the command line by
/// boot_params. std::logic_error for a platform that cannot be described.
std::vector<std::byte> device_tree(const Platform& platform);

}  // namespace hull::boot::x86
