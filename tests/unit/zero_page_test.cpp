#include "boot/x86/zero_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>

#include "boot/x86/layout.h"
#include "boot/x86/loader.h"
#include "boot/x86/pvh.h"

namespace hull::boot::x86 {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

BootInformation information() {
    return {
        .cmdline = GuestAddress{0x2'0000},
        .initramfs = GuestRange::of(0x700'0000, 0x12'3456),
        .rsdp = GuestAddress{0xe'0000},
        .memory_map = memory_map({.memory = memory_layout(128 * kMiB), .devices = {}}, PlatformTables::acpi)};
}

struct Expected {
    uint64_t start;
    uint64_t end;
    MemoryType type;
};

void expect_map(const std::vector<GuestRange>& memory, const std::vector<Expected>& expected) {
    const auto map = memory_map({.memory = memory, .devices = {}}, PlatformTables::acpi);
    ASSERT_EQ(map.size(), expected.size());
    for (size_t i = 0; i < map.size(); ++i) {
        EXPECT_EQ(raw(map[i].range.start()), expected[i].start) << i;
        EXPECT_EQ(raw(map[i].range.last()) + 1, expected[i].end) << i;
        EXPECT_EQ(map[i].type, expected[i].type) << i;
    }
}

TEST(MemoryMap, hole_below_1_mib_is_not_ram) {
    using enum MemoryType;
    expect_map(memory_layout(16 * kMiB), {{0, 0x9'fc00, ram},
                                          {0x9'fc00, 0xe'0000, reserved},
                                          {0xe'0000, 0xf'f000, acpi},
                                          {0xf'f000, 0x10'0000, reserved},
                                          {0x10'0000, 16 * kMiB, ram}});
    expect_map(memory_layout(5 * kGiB), {{0, 0x9'fc00, ram},
                                         {0x9'fc00, 0xe'0000, reserved},
                                         {0xe'0000, 0xf'f000, acpi},
                                         {0xf'f000, 0x10'0000, reserved},
                                         {0x10'0000, 3 * kGiB, ram},
                                         {4 * kGiB, 6 * kGiB, ram}});
}

TEST(MemoryMap, the_configuration_space_of_pci_is_reserved) {
    const auto map = memory_map({.memory = memory_layout(5 * kGiB),
                                 .devices = {},
                                 .pci = PciHost{.configuration = GuestRange::of(0xe000'0000, 0x10'0000),
                                                .window = GuestRange::of(0xe010'0000, 0x10'0000)}},
                                PlatformTables::acpi);
    const MemoryMapEntry& entry = map.at(map.size() - 2);
    EXPECT_EQ(raw(entry.range.start()), 0xe000'0000U);
    EXPECT_EQ(entry.range.size(), 0x10'0000U);
    EXPECT_EQ(entry.type, MemoryType::reserved);
    EXPECT_EQ(map.back().type, MemoryType::ram);
}

TEST(MemoryMap, without_acpi_nothing_is_told_to_be_its_tables) {
    for (const MemoryMapEntry& entry :
         memory_map({.memory = memory_layout(16 * kMiB), .devices = {}}, PlatformTables::fdt)) {
        EXPECT_NE(entry.type, MemoryType::acpi);
    }
}

TEST(MemoryMap, memory_that_does_not_reach_past_1_mib_is_a_defect) {
    EXPECT_THROW((void)memory_map({.memory = {}, .devices = {}}, PlatformTables::acpi), std::logic_error);
    EXPECT_THROW((void)memory_map({.memory = {GuestRange::of(0, kMiB)}, .devices = {}}, PlatformTables::acpi),
                 std::logic_error);
    EXPECT_THROW(
        (void)memory_map({.memory = {GuestRange::of(4096, 2 * kMiB)}, .devices = {}}, PlatformTables::acpi),
        std::logic_error);
}

TEST(ZeroPage, elf_gets_a_header_of_our_own) {
    const boot_params params = make_zero_page(information(), LoadedKernel{}, GuestAddress{0x3000}, false);
    EXPECT_EQ(+params.hdr.boot_flag, 0xaa55);
    EXPECT_EQ(+params.hdr.header, 0x5372'6448U);
    EXPECT_EQ(+params.hdr.version, 0x020f);
    EXPECT_EQ(+params.hdr.type_of_loader, 0xff);
    EXPECT_EQ(+params.hdr.loadflags, LOADED_HIGH);
    EXPECT_EQ(+params.hdr.cmd_line_ptr, 0x2'0000U);
    EXPECT_EQ(+params.hdr.ramdisk_image, 0x700'0000U);
    EXPECT_EQ(+params.hdr.ramdisk_size, 0x12'3456U);
    EXPECT_EQ(+params.hdr.setup_data, 0x3000U);
    EXPECT_EQ(+params.hdr.hardware_subarch, X86_SUBARCH_PC);
    EXPECT_EQ(+params.acpi_rsdp_addr, 0xe'0000U);
    EXPECT_EQ(params.sentinel, 0) << "else a kernel takes what is around the header for rubbish";
    ASSERT_EQ(params.e820_entries, 5);
    EXPECT_EQ(+params.e820_table[4].addr, 0x10'0000U);
    EXPECT_EQ(+params.e820_table[4].size, 127 * kMiB);
    EXPECT_EQ(+params.e820_table[4].type, 1U);
}

TEST(ZeroPage, absent_things_stay_zero) {
    BootInformation bare = information();
    bare.initramfs.reset();
    bare.rsdp.reset();
    const boot_params params = make_zero_page(bare, LoadedKernel{}, std::nullopt, true);
    EXPECT_EQ(+params.hdr.ramdisk_image, 0U);
    EXPECT_EQ(+params.hdr.ramdisk_size, 0U);
    EXPECT_EQ(+params.hdr.setup_data, 0U);
    EXPECT_EQ(+params.acpi_rsdp_addr, 0U);
    EXPECT_EQ(+params.hdr.hardware_subarch, X86_SUBARCH_CE4100) << "no legacy devices";
}

TEST(ZeroPage, randomized_kernel_is_told_and_another_is_not) {
    LoadedKernel kernel;
    kernel.randomized = true;
    EXPECT_EQ(+make_zero_page(information(), kernel, {}, false).hdr.loadflags, LOADED_HIGH | KASLR_FLAG);
    setup_header header{};
    header.loadflags = KASLR_FLAG | KEEP_SEGMENTS;
    kernel.randomized = false;
    kernel.setup_header.resize(sizeof header);
    std::memcpy(kernel.setup_header.data(), &header, sizeof header);
    EXPECT_EQ(+make_zero_page(information(), kernel, {}, false).hdr.loadflags, LOADED_HIGH | KEEP_SEGMENTS);
}

TEST(ZeroPage, header_of_the_image_is_taken_as_long_as_it_is) {
    setup_header header{};
    header.setup_sects = 3;
    header.version = 0x020c;
    header.init_size = 0x123'0000;
    header.kernel_info_offset = 77;
    LoadedKernel kernel;
    kernel.setup_header.resize(sizeof header);
    std::memcpy(kernel.setup_header.data(), &header, sizeof header);
    const boot_params whole = make_zero_page(information(), kernel, {}, false);
    EXPECT_EQ(+whole.hdr.setup_sects, 3);
    EXPECT_EQ(+whole.hdr.version, 0x020c);
    EXPECT_EQ(+whole.hdr.init_size, 0x123'0000U);
    EXPECT_EQ(+whole.hdr.kernel_info_offset, 77U);
    kernel.setup_header.resize(sizeof header - 4);
    EXPECT_EQ(+make_zero_page(information(), kernel, {}, false).hdr.kernel_info_offset, 0U);
}

TEST(ZeroPage, header_longer_than_its_room_is_cut_off) {
    LoadedKernel kernel;
    kernel.setup_header.assign(0x11 + 255, std::byte{0xff});
    BootInformation bare = information();
    bare.memory_map.clear();
    const boot_params params = make_zero_page(bare, kernel, {}, false);
    EXPECT_THAT(params.edd_mbr_sig_buffer, testing::Each(0U));
}

TEST(ZeroPage, initramfs_beyond_32_bits_uses_the_upper_halves) {
    BootInformation high = information();
    high.initramfs = GuestRange::of(0x3'1234'5000, 0x1'8765'4321);
    const boot_params params = make_zero_page(high, LoadedKernel{}, {}, false);
    EXPECT_EQ(+params.hdr.ramdisk_image, 0x1234'5000U);
    EXPECT_EQ(+params.ext_ramdisk_image, 3U);
    EXPECT_EQ(+params.hdr.ramdisk_size, 0x8765'4321U);
    EXPECT_EQ(+params.ext_ramdisk_size, 1U);
}

TEST(ZeroPage, memory_map_has_at_most_128_entries) {
    BootInformation crowded = information();
    crowded.memory_map.assign(128, crowded.memory_map.front());
    EXPECT_EQ(+make_zero_page(crowded, LoadedKernel{}, {}, false).e820_entries, 128);
    crowded.memory_map.push_back(crowded.memory_map.front());
    EXPECT_THROW((void)make_zero_page(crowded, LoadedKernel{}, {}, false), std::logic_error);
}

setup_data read_node(const GuestMemory& memory, GuestAddress address) {
    setup_data node{};
    EXPECT_TRUE(memory.read_bytes(address, std::as_writable_bytes(std::span{&node, 1})));
    return node;
}

TEST(SetupData, nodes_make_a_list) {
    const GuestRange ram = GuestRange::of(0, kMiB);
    GuestMemory memory{std::span{&ram, 1}, Mapping::Pages::transparent};
    const std::array payload{std::byte{1}, std::byte{2}, std::byte{3}};
    const GuestAddress last = write_setup_data(memory, layout::kDeviceTree, SETUP_DTB, payload, std::nullopt);
    const GuestAddress first = write_setup_data(memory, layout::kRandomSeed, SETUP_RNG_SEED, payload, last);
    const setup_data node = read_node(memory, first);
    EXPECT_EQ(node.next, raw(last));
    EXPECT_EQ(node.type, static_cast<uint32_t>(SETUP_RNG_SEED));
    EXPECT_EQ(node.len, 3U);
    EXPECT_EQ(memory.read<uint32_t>(GuestAddress{raw(first) + 16}), 0x0003'0201U);
    EXPECT_EQ(read_node(memory, last).next, 0U);
    const std::vector<std::byte> large(layout::kRandomSeed.size() - 15);
    EXPECT_THROW(write_setup_data(memory, layout::kRandomSeed, SETUP_RNG_SEED, large, {}), std::logic_error);
}

template <typename T>
T read_at(const std::vector<std::byte>& bytes, uint64_t offset) {
    T value;
    std::memcpy(&value, std::span{bytes}.subspan(offset, sizeof value).data(), sizeof value);
    return value;
}

TEST(Pvh, start_info_points_to_all_that_the_kernel_is_told) {
    constexpr uint64_t kBase = 0x2000;
    const auto bytes = make_start_info(information(), GuestAddress{kBase});
    const auto info = read_at<HvmStartInfo>(bytes, 0);
    EXPECT_EQ(info.magic, 0x336e'c578U);
    EXPECT_EQ(info.version, 1U);
    EXPECT_EQ(info.cmdline, 0x2'0000U);
    EXPECT_EQ(info.rsdp, 0xe'0000U);
    ASSERT_EQ(info.module_count, 1U);
    const auto initramfs = read_at<HvmModule>(bytes, info.modules - kBase);
    EXPECT_EQ(initramfs.address, 0x700'0000U);
    EXPECT_EQ(initramfs.size, 0x12'3456U);
    ASSERT_EQ(info.memory_map_entries, 5U);
    const auto ram =
        read_at<HvmMemoryMapEntry>(bytes, info.memory_map - kBase + 4 * sizeof(HvmMemoryMapEntry));
    EXPECT_EQ(ram.address, 0x10'0000U);
    EXPECT_EQ(ram.size, 127 * kMiB);
    EXPECT_EQ(ram.type, 1U);
}

TEST(Pvh, no_initramfs_is_no_module) {
    BootInformation bare = information();
    bare.initramfs.reset();
    const auto info = read_at<HvmStartInfo>(make_start_info(bare, GuestAddress{0x2000}), 0);
    EXPECT_EQ(info.module_count, 0U);
    EXPECT_EQ(info.modules, 0U);
}

}  // namespace
}  // namespace hull::boot::x86
