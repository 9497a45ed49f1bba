#include "boot/image/kernel_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/image/little_endian.h"
#include "tests/support/errors.h"
#include "tests/support/kernel_builder.h"

namespace hull::boot {
namespace {

using test::Bytes;
using test::kLinkAddress;

constexpr uint64_t kMiB = 1 << 20;
constexpr LoadOptions kAsLinked{.randomize = false};

class KernelImage : public testing::Test {
  protected:
    GuestRange ram_ = GuestRange::of(0, 64 * kMiB);
    GuestMemory memory_{std::span{&ram_, 1}, Mapping::Pages::transparent};

    LoadedKernel load(const Bytes& file, const LoadOptions& options = kAsLinked) {
        return load_kernel(test::file_of(file), memory_, options);
    }

    /// What went wrong, or an empty string.
    std::string failure(const Bytes& file, ExitStatus status = ExitStatus::bad_file) {
        try {
            load(file);
        } catch (const Error& error) {
            EXPECT_EQ(error.status(), status) << error.what();
            return error.what();
        }
        return {};
    }

    /// The segments of build_elf() lie at their places moved by `offset`, and the rest of memory is zeros.
    /// Clears them.
    void expect_segments(uint64_t offset) {
        const Bytes elf = test::build_elf();
        for (const test::BuiltSegment& segment : test::kSegments) {
            const auto place =
                memory_.slice(GuestRange::of(segment.address + offset, segment.file_size)).value();
            EXPECT_TRUE(std::equal(place.begin(), place.end(),
                                   elf.begin() + static_cast<ptrdiff_t>(segment.file_offset)))
                << hex(segment.address);
            std::fill(place.begin(), place.end(), std::byte{0});
        }
        // What lies between the first segments is neither bss nor outside of the kernel: it may be anything.
        const auto gaps = memory_.slice(GuestRange::of(kLinkAddress + offset, 0x1a00)).value();
        std::fill(gaps.begin(), gaps.end(), std::byte{0});
        const auto all = memory_.slice(ram_).value();
        EXPECT_EQ(all[0], std::byte{0});
        EXPECT_EQ(std::memcmp(all.data(), all.data() + 1, all.size() - 1), 0);
    }
};

TEST_F(KernelImage, elf_is_loaded_as_it_is_linked) {
    const LoadedKernel kernel = load(test::build_elf());
    EXPECT_EQ(kernel.protocol, EntryProtocol::linux_64bit);
    EXPECT_EQ(raw(kernel.entry), kLinkAddress + 0x40);
    EXPECT_EQ(kernel.occupied, GuestRange::of(kLinkAddress, test::kExtent));
    EXPECT_TRUE(kernel.setup_header.empty());
    EXPECT_FALSE(kernel.randomized);
    expect_segments(0);
}

TEST_F(KernelImage, elf_with_the_note_starts_by_pvh_where_that_is_allowed) {
    const Bytes elf = test::build_elf({.pvh = true});
    EXPECT_EQ(load(elf).protocol, EntryProtocol::pvh);
    EXPECT_EQ(raw(load(elf).entry), kLinkAddress + 0x80);
    EXPECT_EQ(load(elf, {.randomize = false, .allow_pvh = false}).protocol, EntryProtocol::linux_64bit);
}

TEST_F(KernelImage, pvh_entry_outside_of_the_kernel_is_refused) {
    Bytes elf = test::build_elf({.pvh = true});
    const Bytes notes = test::pvh_notes(kLinkAddress - 1);
    std::copy(notes.begin(), notes.end(), elf.begin() + test::kNotesOffset);
    EXPECT_THAT(failure(elf), testing::HasSubstr("PVH entry"));
}

TEST_F(KernelImage, elf_with_relocations_is_randomized_and_then_started_at_its_64_bit_entry) {
    const Bytes table = test::relocation_table({0x10}, {}, {0x20});
    Bytes elf = test::build_elf({.pvh = true, .relocations = table});
    test::poke(elf, 0x410, uint32_t{0x8100'0000});
    const LoadedKernel kernel = load(elf, {.entropy = 3 | uint64_t{5} << 32});
    EXPECT_TRUE(kernel.randomized);
    EXPECT_EQ(kernel.protocol, EntryProtocol::linux_64bit);
    EXPECT_EQ(raw(kernel.entry), kLinkAddress + 6 * kMiB + 0x40);
    EXPECT_EQ(kernel.occupied, GuestRange::of(kLinkAddress + 6 * kMiB, test::kExtent));
    EXPECT_EQ(memory_.read<uint32_t>(GuestAddress{kLinkAddress + 6 * kMiB + 0x10}), 0x8100'0000U + 10 * kMiB);
}

TEST_F(KernelImage, randomized_kernel_leaves_room_for_the_initramfs) {
    const Bytes table = test::relocation_table({0x10}, {}, {});
    const Bytes elf = test::build_elf({.relocations = table});
    for (const uint64_t size : {0 * kMiB, 20 * kMiB, 60 * kMiB}) {
        for (uint64_t entropy = 0; entropy < 40; ++entropy) {
            GuestMemory memory{std::span{&ram_, 1}, Mapping::Pages::transparent};
            const LoadOptions options{.initramfs_size = size, .entropy = entropy};
            const LoadedKernel kernel = load_kernel(test::file_of(elf), memory, options);
            const uint64_t end = raw(kernel.occupied.last()) + 1;
            EXPECT_TRUE(end + size <= 64 * kMiB || raw(kernel.occupied.start()) == kLinkAddress);
        }
    }
}

class KernelImageOfEach : public KernelImage, public testing::WithParamInterface<Compression> {};

TEST_P(KernelImageOfEach, bzimage_is_unpacked_and_placed) {
    const Bytes elf = test::build_elf({.pvh = true});
    const LoadedKernel kernel = load(test::build_bzimage(test::payload_of(GetParam(), elf)));
    EXPECT_EQ(kernel.protocol, EntryProtocol::linux_64bit) << "since the setup header is to be handed over";
    EXPECT_EQ(raw(kernel.entry), kLinkAddress + 0x40);
    EXPECT_EQ(kernel.occupied, GuestRange::of(kLinkAddress, test::kExtent));
    EXPECT_EQ(kernel.setup_header.size(), sizeof(setup_header));
    EXPECT_EQ(kernel.cmdline_limit, 2047U);
    EXPECT_EQ(kernel.initramfs_limit, 0xffff'ffffU);
    expect_segments(0);
}

TEST_P(KernelImageOfEach, bzimage_with_relocations_is_moved) {
    const Bytes elf = test::build_elf({.relocations = test::relocation_table({}, {}, {})});
    const LoadedKernel kernel =
        load(test::build_bzimage(test::payload_of(GetParam(), elf)), {.entropy = 7 | uint64_t{9} << 32});
    EXPECT_TRUE(kernel.randomized);
    EXPECT_EQ(raw(kernel.entry), kLinkAddress + 14 * kMiB + 0x40);
    expect_segments(14 * kMiB);
}

TEST_P(KernelImageOfEach, bzimage_with_something_else_behind_the_kernel_stays_where_it_is_linked) {
    const Bytes elf = test::build_elf({.relocations = test::pattern(4000, 3)});
    const LoadedKernel kernel =
        load(test::build_bzimage(test::payload_of(GetParam(), elf)), {.entropy = 7 | uint64_t{9} << 32});
    EXPECT_FALSE(kernel.randomized);
    EXPECT_EQ(raw(kernel.entry), kLinkAddress + 0x40);
    expect_segments(0);
}

TEST_P(KernelImageOfEach, corrupted_payload_names_file_and_cause) {
    Bytes payload = test::payload_of(GetParam(), test::build_elf());
    payload.resize(payload.size() / 2);
    test::append(payload, static_cast<uint32_t>(test::kElfEnd));
    const std::string why = failure(test::build_bzimage(payload));
    EXPECT_THAT(why, testing::HasSubstr("test-kernel"));
    EXPECT_THAT(why, testing::HasSubstr(std::string{name_of(GetParam())}));
}

INSTANTIATE_TEST_SUITE_P(All, KernelImageOfEach,
                         testing::Values(Compression::gzip, Compression::bzip2, Compression::lzma,
                                         Compression::xz, Compression::lz4, Compression::zstd),
                         [](const auto& each) { return std::string{name_of(each.param)}; });

TEST_F(KernelImage, kernel_that_says_it_cannot_be_moved_is_not) {
    const Bytes elf = test::build_elf({.relocations = test::relocation_table({}, {}, {})});
    Bytes file = test::build_bzimage(test::payload_of(Compression::lz4, elf));
    test::poke(file, test::setup_field(offsetof(setup_header, relocatable_kernel)), uint8_t{0});
    EXPECT_FALSE(load(file, {.entropy = ~uint64_t{0}}).randomized);
}

TEST_F(KernelImage, relocation_outside_of_the_kernel_is_refused) {
    const Bytes elf = test::build_elf({.relocations = test::relocation_table({0x40'0000}, {}, {})});
    try {
        load(test::build_bzimage(test::payload_of(Compression::lz4, elf)), {.entropy = 1});
        FAIL();
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("relocation"));
    }
}

TEST_F(KernelImage, payload_that_is_not_understood_unpacks_itself) {
    const Bytes file = test::build_bzimage(test::bytes_of("\x89LZO and so on"));
    const LoadedKernel kernel = load(file, {});
    EXPECT_EQ(raw(kernel.entry), kLinkAddress + 0x200);
    EXPECT_EQ(kernel.occupied, GuestRange::of(kLinkAddress, 0x10000));
    EXPECT_EQ(kernel.setup_header.size(), sizeof(setup_header));
    EXPECT_FALSE(kernel.randomized) << "it does that itself";
    Bytes got(file.size() - test::kSetupSize);
    ASSERT_TRUE(memory_.read_bytes(GuestAddress{kLinkAddress}, got));
    EXPECT_TRUE(std::equal(got.begin(), got.end(), file.begin() + test::kSetupSize));
}

TEST_F(KernelImage, absurd_unpacked_size_is_refused_before_memory_is_asked_for) {
    Bytes payload = test::payload_of(Compression::lz4, test::build_elf());
    test::poke(payload, payload.size() - 4, uint32_t{0xffff'ffff});
    EXPECT_THAT(failure(test::build_bzimage(payload)), testing::HasSubstr("no kernel does"));
    test::poke(payload, payload.size() - 4, uint32_t{0x3fff'ffff});
    EXPECT_THAT(failure(test::build_bzimage(payload), ExitStatus::no_resources),
                testing::HasSubstr("memory"));
    test::poke(payload, payload.size() - 4, uint32_t{0});
    EXPECT_THAT(failure(test::build_bzimage(payload)), testing::HasSubstr("not a whole ELF"));
}

TEST_F(KernelImage, too_little_memory_names_the_option) {
    const GuestRange little = GuestRange::of(0, 16 * kMiB);
    GuestMemory memory{std::span{&little, 1}, Mapping::Pages::transparent};
    const Bytes elf = test::build_elf();
    for (const Bytes& file : {elf, test::build_bzimage(test::payload_of(Compression::gzip, elf)),
                              test::build_bzimage(Bytes(100))}) {
        test::expect_error([&] { load_kernel(test::file_of(file), memory, kAsLinked); },
                           ExitStatus::no_resources, {"--memory"});
    }
}

TEST_F(KernelImage, other_files_are_told_by_name) {
    const std::pair<std::string, const char*> files[] = {
        {"#!/bin/sh\n", "script"},
        {"070701000000", "--initramfs"},
        {"\x1f\x8b\x08xxxxxxxx", "gzip"},
        {"\x28\xb5\x2f\xfdxxxxx", "Zstandard"},
        {std::string{"MZ\0\0zimg", 8}, "zboot"},
        {"MZ and more", "EFI"},
        {"!<arch>\ndebian-binary", "package"},
        {"MZ" + std::string(0x36, 'x') + "ARM\x64", "arm64"},
        {std::string(0x38, 'x') + "RSC\x05", "RISC-V"},
        {"x", "no Linux kernel"},
        {std::string(100'000, 'x'), "no Linux kernel"},
    };
    for (const auto& [content, message] : files) {
        EXPECT_THAT(failure(test::bytes_of(content)), testing::HasSubstr(message));
    }
}

}  // namespace
}  // namespace hull::boot
