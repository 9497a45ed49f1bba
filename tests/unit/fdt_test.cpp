#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libfdt.h>

#include <string>

#include "boot/fdt/builder.h"
#include "boot/x86/device_tree.h"

namespace hull::boot {
namespace {

/// Reads a tree as a kernel does.
class Tree {
  public:
    explicit Tree(std::vector<std::byte> block) : block_{std::move(block)} {
        EXPECT_EQ(fdt_check_full(block_.data(), block_.size()), 0);
    }

    [[nodiscard]] bool has(const std::string& path) const {
        return fdt_path_offset(block_.data(), path.c_str()) >= 0;
    }
    [[nodiscard]] std::vector<uint32_t> cells(const std::string& path, const char* name) const {
        std::vector<uint32_t> values;
        const std::string raw_value = property(path, name);
        for (size_t i = 0; i + 4 <= raw_value.size(); i += 4) {
            values.push_back(fdt32_ld(reinterpret_cast<const fdt32_t*>(raw_value.data() + i)));
        }
        return values;
    }
    /// The bytes of a property, or "(none)".
    [[nodiscard]] std::string property(const std::string& path, const char* name) const {
        int length = 0;
        const int node = fdt_path_offset(block_.data(), path.c_str());
        const void* value = fdt_getprop(block_.data(), node, name, &length);
        return value == nullptr ? "(none)"
                                : std::string{static_cast<const char*>(value), static_cast<size_t>(length)};
    }
    [[nodiscard]] int children(const std::string& path) const {
        int count = 0;
        int node = 0;
        fdt_for_each_subnode(node, block_.data(), fdt_path_offset(block_.data(), path.c_str())) {
            ++count;
        }
        return count;
    }

  private:
    std::vector<std::byte> block_;
};

std::string text(std::initializer_list<const char*> values) {
    std::string all;
    for (const char* value : values) {
        all.append(value).push_back('\0');
    }
    return all;
}

Platform platform(uint32_t cpus) {
    return {.cpus = cpus,
            .memory = {GuestRange::of(0, 128 << 20)},
            .devices = {
                {DeviceKind::serial, AddressSpace::port, GuestRange::of(0x3f8, 8), 4},
                {DeviceKind::rtc, AddressSpace::port, GuestRange::of(0x70, 2), 8},
                {DeviceKind::power, AddressSpace::memory, GuestRange::of(0x2'd000'0000, 0x10), 5},
                {DeviceKind::pvpanic, AddressSpace::memory, GuestRange::of(0xd000'1000, 1), std::nullopt},
                {DeviceKind::virtio_mmio, AddressSpace::memory, GuestRange::of(0xd000'2000, 0x1000), 11},
            }};
}

using testing::ElementsAre;

TEST(DeviceTree, interrupt_controllers_are_as_x86_linux_knows_them) {
    const Tree tree{x86::device_tree(platform(1))};
    const std::string io_apic = "/interrupt-controller@fec00000";
    EXPECT_EQ(tree.property(io_apic, "compatible"), text({"intel,ce4100-ioapic"}));
    EXPECT_THAT(tree.cells(io_apic, "reg"), ElementsAre(0, 0xfec0'0000, 0, 0x1000));
    EXPECT_EQ(tree.property(io_apic, "interrupt-controller"), "");
    EXPECT_EQ(tree.cells(io_apic, "phandle"), tree.cells("/", "interrupt-parent"));
    const std::string local_apic = "/interrupt-controller@fee00000";
    EXPECT_EQ(tree.property(local_apic, "compatible"), text({"intel,ce4100-lapic"}));
    EXPECT_EQ(tree.property(local_apic, "intel,virtual-wire-mode"), "");
}

TEST(DeviceTree, every_cpu_is_there_by_its_apic_id) {
    for (const uint32_t cpus : {1U, 254U}) {
        const Tree tree{x86::device_tree(platform(cpus))};
        EXPECT_EQ(tree.children("/cpus"), static_cast<int>(cpus));
        EXPECT_THAT(tree.cells("/cpus/cpu@0", "reg"), ElementsAre(0));
        EXPECT_EQ(tree.has("/cpus/cpu@fd"), cpus == 254);
        EXPECT_FALSE(tree.has("/cpus/cpu@fe"));
    }
}

TEST(DeviceTree, devices_in_port_space_are_on_an_isa_bus) {
    const Tree tree{x86::device_tree(platform(1))};
    EXPECT_THAT(tree.cells("/isa", "ranges"), ElementsAre(1, 0, 0, 0, 0x1'0000));
    EXPECT_EQ(tree.property("/isa/serial", "compatible"), text({"ns16550a"}));
    EXPECT_THAT(tree.cells("/isa/serial", "reg"), ElementsAre(1, 0x3f8, 8));
    EXPECT_THAT(tree.cells("/isa/serial", "interrupts"), ElementsAre(4, 3)) << "rising edge";
    EXPECT_THAT(tree.cells("/isa/serial", "clock-frequency"), ElementsAre(1'843'200));
    EXPECT_EQ(tree.property("/isa/rtc", "compatible"), text({"motorola,mc146818"}));
    EXPECT_THAT(tree.cells("/isa/rtc", "reg"), ElementsAre(1, 0x70, 2));
}

TEST(DeviceTree, devices_in_memory_are_at_the_root) {
    const Tree tree{x86::device_tree(platform(1))};
    EXPECT_EQ(tree.property("/pvpanic@d0001000", "compatible"), text({"qemu,pvpanic-mmio"}));
    EXPECT_EQ(tree.property("/pvpanic@d0001000", "interrupts"), "(none)");
    EXPECT_EQ(tree.property("/virtio@d0002000", "compatible"), text({"virtio,mmio"}));
    EXPECT_THAT(tree.cells("/virtio@d0002000", "reg"), ElementsAre(0, 0xd000'2000, 0, 0x1000));
    EXPECT_THAT(tree.cells("/virtio@d0002000", "interrupts"), ElementsAre(11, 3)) << "rising edge";
    EXPECT_EQ(tree.property("/power@2d0000000", "compatible"), text({"syscon", "simple-mfd"}));
    EXPECT_THAT(tree.cells("/power@2d0000000", "reg"), ElementsAre(2, 0xd000'0000, 0, 0x10));
    EXPECT_EQ(tree.property("/power@2d0000000/poweroff", "compatible"), text({"syscon-poweroff"}));
    EXPECT_THAT(tree.cells("/power@2d0000000/poweroff", "offset"), ElementsAre(0));
    EXPECT_THAT(tree.cells("/power@2d0000000/poweroff", "value"), ElementsAre(0x34));
}

TEST(DeviceTree, there_is_no_isa_bus_without_ports) {
    EXPECT_FALSE(
        Tree{x86::device_tree({.memory = {GuestRange::of(0, 128 << 20)}, .devices = {}})}.has("/isa"));
}

TEST(TreeBuilder, block_grows_in_the_midst_of_a_node) {
    fdt::TreeBuilder builder;
    builder.node("outer", [&] {
        builder.cells("large", std::vector<uint32_t>(10'000, 7));
        builder.node("inner", [&] { builder.strings("names", {"one", "two"}); });
    });
    const Tree tree{std::move(builder).finish()};
    EXPECT_THAT(tree.cells("/outer", "large"), testing::AllOf(testing::SizeIs(10'000), testing::Each(7)));
    EXPECT_EQ(tree.property("/outer/inner", "names"), text({"one", "two"}));
}

}  // namespace
}  // namespace hull::boot
