// A platform's devices as nodes of a device tree, whatever the architecture.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/device_node.h"
#include "boot/fdt/builder.h"

namespace hull::boot::fdt {

/// What an interrupt controller's nodes want in "interrupts" for a GSI (edge-triggered, active high).
using InterruptCells = std::function<std::vector<uint32_t>(uint32_t gsi)>;

/// Adds `devices`, in their order, to the current node, which has two address and two size cells and whose
/// "interrupt-parent" is set. Devices in port space are put into one node of the kind "isa" behind the
/// others. A power node says how to power off; its button and its reset have no binding that Linux on x86
/// acts on.
void add_devices(TreeBuilder& tree, std::span<const DeviceNode> devices,
                 const InterruptCells& interrupt_cells);

}  // namespace hull::boot::fdt
