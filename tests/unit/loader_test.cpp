#include "boot/x86/loader.h"

#include <asm/bootparam.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "boot/x86/initramfs.h"
#include "boot/x86/layout.h"
#include "boot/x86/pvh.h"
#include "tests/support/kernel_builder.h"

namespace hull::boot::x86 {
namespace {

using test::Bytes;
using test::kLinkAddress;
using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

struct Layout {
    uint64_t bytes;
    std::vector<GuestRange> ranges;
};

class MemoryLayout : public testing::TestWithParam<Layout> {};

TEST_P(MemoryLayout, hole_below_4_gib_is_kept_free) {
    EXPECT_EQ(memory_layout(GetParam().bytes), GetParam().ranges);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, MemoryLayout,
    testing::Values(Layout{16 * kMiB, {GuestRange::of(0, 16 * kMiB)}},
                    Layout{128 * kMiB, {GuestRange::of(0, 128 * kMiB)}},
                    Layout{3 * kGiB, {GuestRange::of(0, 3 * kGiB)}},
                    Layout{3 * kGiB + 4096, {GuestRange::of(0, 3 * kGiB), GuestRange::of(4 * kGiB, 4096)}},
                    Layout{5 * kGiB, {GuestRange::of(0, 3 * kGiB), GuestRange::of(4 * kGiB, 2 * kGiB)}},
                    Layout{64 * kGiB, {GuestRange::of(0, 3 * kGiB), GuestRange::of(4 * kGiB, 61 * kGiB)}}));

class Loader : public testing::Test {
  protected:
    explicit Loader(uint64_t bytes = 128 * kMiB)
        : platform_{.cpus = 2,
                    .memory = memory_layout(bytes),
                    .devices = {{DeviceKind::serial, AddressSpace::port, GuestRange::of(0x3f8, 8), 4}}},
          memory_{platform_.memory, Mapping::Pages::transparent} {}

    BootSources sources(const Bytes& kernel) {
        BootSources all{
            .kernel = test::file_of(kernel), .initramfs = {}, .cmdline = "console=ttyS0", .random_seed = {}};
        return all;
    }
    EntryState load(const BootSources& all) { return x86::load(all, platform_, memory_); }
    EntryState load(const Bytes& kernel) { return load(sources(kernel)); }

    template <typename T>
    T read(uint64_t address) {
        return memory_.read<T>(GuestAddress{address}).value();
    }
    std::string text(uint64_t address) {
        std::string all;
        while (const char c = read<char>(address + all.size())) {
            all.push_back(c);
        }
        return all;
    }
    boot_params zero_page(const EntryState& state) { return read<boot_params>(state.boot_data); }

    setup_data node(uint64_t address) {
        setup_data header{};
        EXPECT_TRUE(memory_.read_bytes(GuestAddress{address}, std::as_writable_bytes(std::span{&header, 1})));
        return header;
    }

    /// Where the page tables take an address; nothing where they do not map it.
    std::optional<uint64_t> translate(const EntryState& state, uint64_t address) {
        const auto entry = [&](uint64_t table, unsigned shift) {
            return read<uint64_t>(table + (address >> shift & 511) * 8);
        };
        const uint64_t third = entry(state.page_table, 39);
        const uint64_t second = (third & 1) == 0 ? 0 : entry(third & ~uint64_t{0xfff}, 30);
        const uint64_t leaf = (second & 1) == 0 ? 0 : entry(second & ~uint64_t{0xfff}, 21);
        if ((leaf & 1) == 0) {
            return std::nullopt;
        }
        EXPECT_EQ(leaf & 0xfff, 0x83U) << "present, writable, 2 MiB";
        return (leaf & ~uint64_t{0x1f'ffff}) | (address & 0x1f'ffff);
    }

    std::string failure(const BootSources& all, ExitStatus status) {
        try {
            load(all);
        } catch (const Error& error) {
            EXPECT_EQ(error.status(), status) << error.what();
            return error.what();
        }
        return "no failure";
    }

    Platform platform_;
    GuestMemory memory_;
};

TEST_F(Loader, elf_starts_in_long_mode) {
    const EntryState state = load(test::build_elf());
    EXPECT_EQ(state.mode, EntryState::Mode::long_mode);
    EXPECT_EQ(state.instruction_pointer, kLinkAddress + 0x40);
    EXPECT_EQ(state.stack_pointer, raw(layout::kStack.last()) + 1);
    for (const uint64_t address :
         {uint64_t{0}, uint64_t{0x12345}, state.instruction_pointer, 128 * kMiB - 1}) {
        EXPECT_EQ(translate(state, address), address);
    }
    EXPECT_EQ(translate(state, 128 * kMiB), std::nullopt);
    ASSERT_EQ(state.gdt_limit, 47);
    EXPECT_EQ(read<uint64_t>(state.gdt), 0U);
    EXPECT_EQ(read<uint64_t>(state.gdt + kCodeSelector), 0x00af'9b00'0000'ffffU);
    EXPECT_EQ(read<uint64_t>(state.gdt + kDataSelector), 0x00cf'9300'0000'ffffU);
    EXPECT_EQ(read<uint64_t>(state.gdt + kTaskSelector), 0x0000'8b00'0000'0067U);
}

TEST_F(Loader, kernel_is_told_where_things_are) {
    const boot_params params = zero_page(load(test::build_elf()));
    EXPECT_EQ(text(params.hdr.cmd_line_ptr), "console=ttyS0");
    EXPECT_EQ(read<uint64_t>(params.acpi_rsdp_addr), 0x2052'5450'2044'5352U) << "'RSD PTR '";
    EXPECT_EQ(+params.hdr.setup_data, 0U);
    EXPECT_EQ(+params.hdr.hardware_subarch, X86_SUBARCH_PC);
    EXPECT_EQ(params.e820_entries, 5);
}

TEST_F(Loader, only_what_is_told_is_written_below_1_mib) {
    load(test::build_elf());
    for (uint64_t address = 0; address < kMiB; address += 4096) {
        const auto page = memory_.slice(GuestRange::make(GuestAddress{address}, 4096).value()).value();
        const bool written =
            std::any_of(page.begin(), page.end(), [](std::byte b) { return b != std::byte{0}; });
        const GuestRange range = GuestRange::make(GuestAddress{address}, 4096).value();
        const bool expected = layout::kGdt.contains(range) || layout::kBootData.contains(range) ||
                              layout::kCommandLine.start() == range.start() ||
                              (address >= 0x4000 && address < 0x7000) ||  // one page directory suffices
                              layout::kAcpiTables.start() == range.start() ||
                              range.contains(layout::kResetVector);
        EXPECT_EQ(written, expected) << address;
    }
}

TEST_F(Loader, places_in_the_first_mib_are_apart) {
    using namespace layout;
    const std::vector<GuestRange> places{kGdt,         kBootData,   kRandomSeed, kPageTables, kStack,
                                         kCommandLine, kDeviceTree, kAcpiTables, kResetVector};
    for (size_t i = 0; i < places.size(); ++i) {
        EXPECT_FALSE(places[i].overlaps(GuestRange::of(0, 0x1000)));
        EXPECT_LE(raw(places[i].last()), kOneMiB - 1);
        EXPECT_FALSE(places[i].overlaps(GuestRange::of(kConventionalEnd, 0xe'0000 - kConventionalEnd)));
        for (size_t j = 0; j < i; ++j) {
            EXPECT_FALSE(places[i].overlaps(places[j])) << i << ' ' << j;
        }
    }
}

TEST_F(Loader, elf_with_the_note_starts_by_pvh) {
    BootSources all = sources(test::build_elf({.pvh = true}));
    all.initramfs.push_back(test::file_of(test::bytes_of("archive")));
    const EntryState state = load(all);
    EXPECT_EQ(state.mode, EntryState::Mode::protected_mode);
    EXPECT_EQ(state.page_table, 0U);
    EXPECT_EQ(read<uint64_t>(state.gdt + kCodeSelector), 0x00cf'9b00'0000'ffffU) << "32 bits";
    const auto info = read<HvmStartInfo>(state.boot_data);
    EXPECT_EQ(info.magic, kHvmStartMagic);
    EXPECT_EQ(text(info.cmdline), "console=ttyS0");
    EXPECT_EQ(info.rsdp, 0xe'0000U);
    EXPECT_EQ(text(read<HvmModule>(info.modules).address), "archive");
}

TEST_F(Loader, device_tree_is_handed_over_by_the_boot_protocol) {
    BootSources all = sources(test::build_elf({.pvh = true}));
    all.tables = PlatformTables::fdt;
    const EntryState state = load(all);
    EXPECT_EQ(state.mode, EntryState::Mode::long_mode);
    const boot_params params = zero_page(state);
    const setup_data tree = node(params.hdr.setup_data);
    EXPECT_EQ(tree.type, static_cast<uint32_t>(SETUP_DTB));
    EXPECT_EQ(read<uint32_t>(params.hdr.setup_data + sizeof tree), 0xedfe'0dd0U) << "its magic number";
    EXPECT_EQ(+params.acpi_rsdp_addr, 0U);
    EXPECT_EQ(read<uint64_t>(0xe'0000), 0U) << "nor is one found by searching";
    EXPECT_EQ(+params.hdr.hardware_subarch, X86_SUBARCH_CE4100);
}

TEST_F(Loader, seed_comes_first_and_the_tree_behind_it) {
    BootSources all = sources(test::build_elf());
    all.tables = PlatformTables::fdt;
    all.random_seed.emplace().fill(std::byte{0x5a});
    const auto first = zero_page(load(all)).hdr.setup_data;
    const setup_data seed = node(first);
    EXPECT_EQ(seed.type, static_cast<uint32_t>(SETUP_RNG_SEED));
    EXPECT_EQ(seed.len, 32U);
    EXPECT_EQ(read<uint64_t>(first + sizeof seed + 24), 0x5a5a'5a5a'5a5a'5a5aU);
    EXPECT_EQ(node(seed.next).type, static_cast<uint32_t>(SETUP_DTB));
}

TEST_F(Loader, jump_to_the_bios_pulls_the_reset_line) {
    load(test::build_elf());
    EXPECT_EQ(read<uint64_t>(0xf'fff0), 0x00'fd'eb'f4'64'e6'fe'b0U);
}

TEST_F(Loader, tree_of_254_cpus_fits) {
    platform_.cpus = 254;
    BootSources all = sources(test::build_elf());
    all.tables = PlatformTables::fdt;
    EXPECT_NO_THROW(load(all));
}

TEST_F(Loader, kernel_moves_unless_the_command_line_forbids_it) {
    const Bytes kernel = test::build_elf({.relocations = test::relocation_table({}, {}, {})});
    struct Row {
        const char* cmdline;
        bool moves;
    };
    for (const Row& row :
         {Row{"", true}, Row{"nokaslr", false}, Row{"a nokaslr b", false}, Row{"\tnokaslr\n", false},
          Row{"nokaslr=1", true}, Row{"xnokaslr", true}, Row{"nokaslrx ", true}}) {
        GuestMemory fresh{platform_.memory, Mapping::Pages::transparent};
        BootSources all = sources(kernel);
        all.cmdline = row.cmdline;
        all.kernel_place = 3;
        const EntryState state = x86::load(all, platform_, fresh);
        const auto params = fresh.read<boot_params>(GuestAddress{state.boot_data}).value();
        EXPECT_EQ(state.instruction_pointer != kLinkAddress + 0x40, row.moves) << row.cmdline;
        EXPECT_EQ((params.hdr.loadflags & KASLR_FLAG) != 0, row.moves) << row.cmdline;
    }
}

TEST_F(Loader, files_are_joined_as_high_as_memory_goes) {
    BootSources all = sources(test::build_elf());
    all.initramfs.push_back(test::file_of(test::pattern(4097, 1)));
    all.initramfs.push_back(test::file_of(test::pattern(100, 2)));
    const boot_params params = zero_page(load(all));
    EXPECT_EQ(+params.hdr.ramdisk_size, 4100U + 100U);
    EXPECT_EQ(+params.hdr.ramdisk_image, 128 * kMiB - 8192);
    Bytes expected = test::pattern(4097, 1);
    expected.resize(4100);
    const Bytes second = test::pattern(100, 2);
    expected.insert(expected.end(), second.begin(), second.end());
    Bytes got(expected.size());
    ASSERT_TRUE(memory_.read_bytes(GuestAddress{params.hdr.ramdisk_image}, got));
    EXPECT_EQ(got, expected);
}

TEST_F(Loader, command_line_ends_at_the_limit_of_the_kernel) {
    BootSources all = sources(test::build_elf());
    all.cmdline = std::string(2047, 'x');
    EXPECT_EQ(text(zero_page(load(all)).hdr.cmd_line_ptr).size(), 2047U);
    all.cmdline += 'x';
    EXPECT_THAT(failure(all, ExitStatus::usage),
                HasSubstr("it is 2048 bytes long and this kernel takes at most 2047"));
    all.cmdline = std::string{"a\0b", 3};
    EXPECT_THAT(failure(all, ExitStatus::usage), HasSubstr("zero byte"));
}

TEST_F(Loader, initramfs_larger_than_memory_is_refused_with_the_numbers) {
    BootSources all = sources(test::build_elf());
    all.initramfs.push_back(test::file_of(test::pattern(100, 1)));
    all.initramfs.back().size = 200 * kMiB;
    EXPECT_EQ(
        failure(all, ExitStatus::no_resources),
        "cannot place initramfs 'test-kernel' (204800 KiB) in guest memory: the kernel occupies 28 KiB from "
        "16384 KiB on, and memory ends at 131072 KiB; give the guest more memory (--memory) or make the "
        "initramfs smaller");
    all.initramfs.back().size = uint64_t{1} << 63;
    all.initramfs.push_back(test::file_of(test::pattern(100, 1)));
    all.initramfs.back().size = uint64_t{1} << 63;
    EXPECT_THAT(failure(all, ExitStatus::no_resources),
                HasSubstr("cannot place initramfs 'test-kernel' + 'test"));
}

TEST_F(Loader, file_that_became_shorter_is_refused) {
    BootSources all = sources(test::build_elf());
    all.initramfs.push_back(test::file_of(test::pattern(100, 1)));
    all.initramfs.back().size = 5000;
    EXPECT_THAT(failure(all, ExitStatus::bad_file), HasSubstr("initramfs"));
}

TEST_F(Loader, kernel_within_the_first_mib_is_refused) {
    Bytes kernel = test::build_elf();
    for (size_t i = 0; i < std::size(test::kSegments); ++i) {
        const uint64_t address = test::kSegments[i].address - kLinkAddress + 0x8'0000;
        test::poke(kernel, test::program_header_at(i) + offsetof(Elf64_Phdr, p_paddr), address);
    }
    test::poke(kernel, offsetof(Elf64_Ehdr, e_entry), uint64_t{0x8'0040});
    EXPECT_THAT(failure(sources(kernel), ExitStatus::bad_file), HasSubstr("test-kernel"));
}

class SmallLoader : public Loader {
  protected:
    SmallLoader() : Loader{16 * kMiB} {}
};

TEST_F(SmallLoader, memory_too_small_for_the_kernel_is_told) {
    EXPECT_THAT(failure(sources(test::build_elf()), ExitStatus::no_resources), HasSubstr("memory"));
}

class LargeLoader : public Loader {
  protected:
    LargeLoader() : Loader{5 * kGiB} {}
};

TEST_F(LargeLoader, initramfs_stays_below_what_the_kernel_takes_and_pages_cover_low_memory) {
    BootSources all = sources(test::build_elf());
    all.initramfs.push_back(test::file_of(test::pattern(100, 1)));
    const EntryState state = load(all);
    EXPECT_EQ(+zero_page(state).hdr.ramdisk_image, 3 * kGiB - 4096);
    EXPECT_EQ(translate(state, 3 * kGiB - 1), 3 * kGiB - 1);
    EXPECT_EQ(translate(state, 3 * kGiB), std::nullopt);
}

struct Place {
    const char* name;
    GuestRange kernel;
    uint64_t limit;
    uint64_t size;
    uint64_t start;  ///< 0: there is none
};

void PrintTo(const Place& place, std::ostream* out) {
    *out << place.name;
}

class InitramfsPlace : public testing::TestWithParam<Place> {};

TEST_P(InitramfsPlace, is_the_highest_that_is_free) {
    const Place& place = GetParam();
    const GuestRange ram = GuestRange::of(0, 64 * kMiB);
    GuestMemory memory{std::span{&ram, 1}, Mapping::Pages::transparent};
    LoadedKernel kernel;
    kernel.occupied = place.kernel;
    kernel.initramfs_limit = place.limit;
    std::vector<InputFile> files;
    files.push_back(test::file_of(Bytes(place.size, std::byte{1})));
    if (place.start == 0) {
        EXPECT_THROW((void)load_initramfs(files, kernel, memory), Error);
        return;
    }
    EXPECT_EQ(load_initramfs(files, kernel, memory), GuestRange::make(GuestAddress{place.start}, place.size));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, InitramfsPlace,
    testing::Values(
        Place{"end of memory", GuestRange::of(16 * kMiB, 8 * kMiB), UINT32_MAX, 4096, 64 * kMiB - 4096},
        Place{"whole pages", GuestRange::of(16 * kMiB, 8 * kMiB), UINT32_MAX, 8, 64 * kMiB - 4096},
        Place{"the kernel's limit", GuestRange::of(16 * kMiB, 8 * kMiB), 32 * kMiB - 1, 4096,
              32 * kMiB - 4096},
        Place{"just above the kernel", GuestRange::of(16 * kMiB, 8 * kMiB), UINT32_MAX, 40 * kMiB, 24 * kMiB},
        Place{"not into the kernel's last page", GuestRange::of(60 * kMiB, 4 * kMiB - 4095), UINT32_MAX, 4092,
              60 * kMiB - 4096},
        Place{"below a kernel at the end", GuestRange::of(56 * kMiB, 8 * kMiB), UINT32_MAX, 4096,
              56 * kMiB - 4096},
        Place{"below a kernel behind the limit", GuestRange::of(56 * kMiB, kMiB), 32 * kMiB - 1, 4096,
              32 * kMiB - 4096},
        Place{"down to 1 MiB", GuestRange::of(32 * kMiB, 32 * kMiB), UINT32_MAX, 31 * kMiB, kMiB},
        Place{"not within the first MiB", GuestRange::of(32 * kMiB, 32 * kMiB), UINT32_MAX, 31 * kMiB + 4, 0},
        Place{"a limit below all", GuestRange::of(16 * kMiB, 8 * kMiB), 4095, 4096, 0}));

}  // namespace
}  // namespace hull::boot::x86
