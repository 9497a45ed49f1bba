#include "boot/fdt/device_nodes.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hull::boot::fdt {

namespace {

constexpr uint32_t kUartClock =
    1'843'200;                         // Hz; a PC's UART, whose highest rate of 115200 is a sixteenth of it
constexpr uint32_t kIsaPortSpace = 1;  // in the first cell of an ISA address; 0 would be memory

std::string unit_name(std::string_view name, const DeviceNode& node) {
    char digits[17] = {};
    std::to_chars(std::begin(digits), std::end(digits), raw(node.range.start()), 16);
    // IEEE 1275's ISA binding marks addresses in port space so.
    return std::string{name} + (node.space == AddressSpace::port ? "@i" : "@") + digits;
}

void add_registers(TreeBuilder& tree, const DeviceNode& node) {
    const uint64_t start = raw(node.range.start());
    const uint64_t size = node.range.size();
    if (node.space == AddressSpace::port) {
        tree.cells("reg", {kIsaPortSpace, low_cell(start), low_cell(size)});
    } else {
        tree.cells("reg", {high_cell(start), low_cell(start), high_cell(size), low_cell(size)});
    }
}

/// Devicetree Specification 0.4, 4.2.2; Linux Documentation/devicetree/bindings: rtc/rtc-cmos.txt,
/// misc/pvpanic-mmio.txt, mfd/syscon.yaml, virtio/mmio.yaml, power/reset/syscon-poweroff.yaml
void add_device(TreeBuilder& tree, const DeviceNode& node, const InterruptCells& interrupt_cells) {
    const auto common = [&] {
        add_registers(tree, node);
        if (node.interrupt) {
            tree.cells("interrupts", interrupt_cells(*node.interrupt));
        }
    };
    switch (node.kind) {
        case DeviceKind::serial:
            return tree.node(unit_name("serial", node), [&] {
                tree.strings("compatible", {"ns16550a"});
                common();
                tree.cells("clock-frequency", {kUartClock});
            });
        case DeviceKind::rtc:
            return tree.node(unit_name("rtc", node), [&] {
                tree.strings("compatible", {"motorola,mc146818"});
                common();
            });
        case DeviceKind::pvpanic:
            return tree.node(unit_name("pvpanic", node), [&] {
                tree.strings("compatible", {"qemu,pvpanic-mmio"});
                common();
            });
        case DeviceKind::virtio_mmio:
            return tree.node(unit_name("virtio", node), [&] {
                tree.strings("compatible", {"virtio,mmio"});
                common();
            });
        case DeviceKind::power:
            return tree.node(unit_name("power", node), [&] {
                using namespace power_registers;
                tree.strings("compatible", {"syscon", "simple-mfd"});
                add_registers(tree, node);
                tree.node("poweroff", [&] {
                    tree.strings("compatible", {"syscon-poweroff"});
                    tree.cells("offset", {low_cell(kSleepControl)});
                    tree.cells("value", {uint32_t{kSleepTypeOff} << 2 | kSleepEnable});
                });
            });
    }
    throw std::logic_error{"a device of unknown kind"};
}

void add_all(TreeBuilder& tree, std::span<const DeviceNode> devices, AddressSpace space,
             const InterruptCells& interrupt_cells) {
    for (const DeviceNode& node : devices) {
        if (node.space == space) {
            add_device(tree, node, interrupt_cells);
        }
    }
}

}  // namespace

void add_devices(TreeBuilder& tree, std::span<const DeviceNode> devices,
                 const InterruptCells& interrupt_cells) {
    add_all(tree, devices, AddressSpace::memory, interrupt_cells);
    const bool ports = std::any_of(devices.begin(), devices.end(),
                                   [](const DeviceNode& node) { return node.space == AddressSpace::port; });
    if (!ports) {
        return;
    }
    tree.node("isa", [&] {
        tree.strings("compatible", {"isa"});
        tree.strings("device_type", {"isa"});
        tree.cells("#address-cells", {2});
        tree.cells("#size-cells", {1});
        // Port 0 of ISA is port 0 of the processor's.
        tree.cells("ranges", {kIsaPortSpace, 0, 0, 0, 0x1'0000});
        add_all(tree, devices, AddressSpace::port, interrupt_cells);
    });
}

}  // namespace hull::boot::fdt
