#include "boot/x86/device_tree.h"

#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "boot/fdt/device_nodes.h"
#include "boot/x86/acpi.h"

namespace hull::boot::x86 {

namespace {

constexpr uint32_t kIoApicPhandle = 1;
constexpr uint32_t kApicSize = 0x1000;
constexpr uint32_t kEdgeRising = 3;  // of the four ways in of_ioapic_type[], arch/x86/kernel/devicetree.c

std::string numbered(std::string_view name, uint32_t number) {
    char digits[9] = {};
    std::to_chars(std::begin(digits), std::end(digits), number, 16);
    return std::string{name} + "@" + digits;
}

void add_cpus(fdt::TreeBuilder& tree, uint32_t count) {
    tree.node("cpus", [&] {
        tree.cells("#address-cells", {1});
        tree.cells("#size-cells", {0});
        for (uint32_t cpu = 0; cpu < count; ++cpu) {
            tree.node(numbered("cpu", cpu), [&] {
                tree.strings("device_type", {"cpu"});
                tree.cells("reg", {cpu});
            });
        }
    });
}

/// Linux Documentation/devicetree/bindings/interrupt-controller/intel,ce4100-ioapic.yaml and -lapic.yaml: the
/// names are those of the first board that had a tree, and all that Linux knows.
void add_interrupt_controllers(fdt::TreeBuilder& tree) {
    const auto common = [&](uint32_t address) {
        tree.flag("interrupt-controller");
        tree.cells("#interrupt-cells", {2});
        tree.cells("reg", {0, address, 0, kApicSize});
    };
    tree.node(numbered("interrupt-controller", kIoApicAddress), [&] {
        tree.strings("compatible", {"intel,ce4100-ioapic"});
        common(kIoApicAddress);
        tree.cells("phandle", {kIoApicPhandle});
    });
    tree.node(numbered("interrupt-controller", kLocalApicAddress), [&] {
        tree.strings("compatible", {"intel,ce4100-lapic"});
        common(kLocalApicAddress);
        // Without it a kernel writes to the ports of an interrupt mode register that only old boards have.
        tree.flag("intel,virtual-wire-mode");
    });
}

}  // namespace

std::vector<std::byte> device_tree(const Platform& platform) {
    fdt::TreeBuilder tree;
    tree.strings("compatible", {"hull,x86"});
    tree.strings("model", {"hull,x86"});
    tree.cells("#address-cells", {2});
    tree.cells("#size-cells", {2});
    tree.cells("interrupt-parent", {kIoApicPhandle});
    add_cpus(tree, platform.cpus);
    add_interrupt_controllers(tree);
    fdt::add_devices(tree, platform.devices, [](uint32_t gsi) {
        return std::vector<uint32_t>{gsi, kEdgeRising};
    });
    return std::move(tree).finish();
}

}  // namespace hull::boot::x86
