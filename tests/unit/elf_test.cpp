#include "boot/image/elf.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "boot/image/bad_image.h"
#include "tests/support/kernel_builder.h"

namespace hull::boot {
namespace {

using test::Bytes;
using test::poke;
using test::program_header_at;

TEST(Elf, a_kernel_shaped_as_linux_is_understood) {
    const Bytes file = test::build_elf({.pvh = true, .relocations = Bytes(16)});
    const ElfImage image = parse_elf(file, file.size());
    ASSERT_EQ(image.segments.size(), std::size(test::kSegments));
    EXPECT_EQ(image.extent, GuestRange::of(test::kLinkAddress, test::kExtent));
    EXPECT_EQ(raw(image.entry), test::kLinkAddress + 0x40);
    EXPECT_EQ(image.end, test::kElfEnd);
    EXPECT_TRUE(image.linux_map);
    EXPECT_EQ(image.notes.size(), 1U);
}

TEST(Elf, headers_at_the_front_of_the_file_suffice) {
    const Bytes file = test::build_elf();
    const auto front = std::span{file}.first(program_header_at(5));
    EXPECT_EQ(parse_elf(front, file.size()).segments.size(), std::size(test::kSegments));
    EXPECT_THROW((void)parse_elf(front.first(front.size() - 1), file.size()), BadImage);
}

struct Damage {
    const char* name;
    std::function<void(Bytes&)> damage;
    const char* message;
};

std::ostream& operator<<(std::ostream& out, const Damage& damage) {
    return out << damage.name;
}

class DamagedElf : public testing::TestWithParam<Damage> {};

TEST_P(DamagedElf, is_refused_with_a_sentence) {
    Bytes file = test::build_elf({.pvh = true});
    GetParam().damage(file);
    try {
        (void)parse_elf(file, file.size());
        FAIL() << "was accepted";
    } catch (const BadImage& bad) {
        EXPECT_EQ(bad.status(), ExitStatus::bad_file);
        EXPECT_THAT(bad.what(), testing::HasSubstr(GetParam().message));
    }
}

template <typename T>
std::function<void(Bytes&)> set(size_t offset, T value) {
    return [=](Bytes& file) { poke(file, offset, value); };
}

template <typename T>
std::function<void(Bytes&)> set_segment(size_t index, size_t offset, T value) {
    return set(program_header_at(index) + offset, value);
}

constexpr size_t kOffset = offsetof(Elf64_Phdr, p_offset);
constexpr size_t kAddress = offsetof(Elf64_Phdr, p_paddr);
constexpr size_t kFileSize = offsetof(Elf64_Phdr, p_filesz);
constexpr size_t kMemorySize = offsetof(Elf64_Phdr, p_memsz);

const Damage damages[] = {
    {"empty", [](Bytes& file) { file.clear(); }, "not a whole ELF"},
    {"only_the_magic", [](Bytes& file) { file.resize(4); }, "not a whole ELF"},
    {"half_a_header", [](Bytes& file) { file.resize(40); }, "cut off"},
    {"class_32", set(EI_CLASS, uint8_t{ELFCLASS32}), "32-bit"},
    {"class_unknown", set(EI_CLASS, uint8_t{77}), "corrupted"},
    {"big_endian", set(EI_DATA, uint8_t{ELFDATA2MSB}), "big-endian"},
    {"arm64", set(offsetof(Elf64_Ehdr, e_machine), uint16_t{EM_AARCH64}), "another machine"},
    {"object_file", set(offsetof(Elf64_Ehdr, e_type), uint16_t{ET_REL}), "no executable"},
    {"core_file", set(offsetof(Elf64_Ehdr, e_type), uint16_t{ET_CORE}), "no executable"},
    {"no_program_headers", set(offsetof(Elf64_Ehdr, e_phnum), uint16_t{0}), "0 program headers"},
    {"65535_program_headers", set(offsetof(Elf64_Ehdr, e_phnum), uint16_t{0xffff}), "65535 program headers"},
    {"short_program_headers", set(offsetof(Elf64_Ehdr, e_phentsize), uint16_t{32}), "of 32 bytes"},
    {"program_headers_at_the_end", set(offsetof(Elf64_Ehdr, e_phoff), uint64_t{test::kElfEnd - 8}),
     "program headers lie outside"},
    {"program_headers_wrap", set(offsetof(Elf64_Ehdr, e_phoff), ~uint64_t{0} - 20),
     "program headers lie outside"},
    {"no_segment",
     [](Bytes& file) {
         for (size_t index = 0; index < 4; ++index) {
             poke(file, program_header_at(index), uint32_t{PT_NULL});
         }
     },
     "no segment"},
    {"segment_past_the_file", set_segment(3, kOffset, uint64_t{test::kElfEnd - 1}),
     "past the end of the file"},
    {"segment_offset_wraps", set_segment(3, kOffset, ~uint64_t{0} - 4), "past the end of the file"},
    {"segment_size_huge",
     [](Bytes& file) {
         poke(file, program_header_at(0) + kFileSize, ~uint64_t{0});
         poke(file, program_header_at(0) + kMemorySize, ~uint64_t{0});
     },
     "past the end of the file"},
    {"more_in_file_than_in_memory", set_segment(0, kMemorySize, uint64_t{0x10}), "larger in the file"},
    {"memory_wraps", set_segment(3, kMemorySize, ~uint64_t{0}), "past 4 GiB"},
    {"memory_past_4_gib", set_segment(3, kAddress, uint64_t{0xffff'f000}), "past 4 GiB"},
    {"below_1_mib", set_segment(0, kAddress, uint64_t{0xff000}), "below 1 MiB"},
    {"at_zero", set_segment(0, kAddress, uint64_t{0}), "below 1 MiB"},
    {"overlap_in_memory", set_segment(1, kAddress, test::kLinkAddress + 0xbff), "overlap in memory"},
    {"not_in_order", set_segment(1, kAddress, test::kLinkAddress + 0x80'0000), "not in order"},
    {"overlap_in_file", set_segment(1, kOffset, uint64_t{0x500}), "overlap in the file"},
    {"entry_outside", set(offsetof(Elf64_Ehdr, e_entry), test::kLinkAddress + test::kExtent), "entry"},
    {"entry_virtual", set(offsetof(Elf64_Ehdr, e_entry), test::kVirtualBase + test::kLinkAddress), "entry"},
};

INSTANTIATE_TEST_SUITE_P(Each, DamagedElf, testing::ValuesIn(damages),
                         [](const auto& each) { return std::string{each.param.name}; });

TEST(Elf, damage_that_does_not_matter_is_let_be) {
    Bytes file = test::build_elf();
    poke(file, offsetof(Elf64_Ehdr, e_shoff), ~uint64_t{0} - 3);
    poke(file, program_header_at(4) + kOffset, ~uint64_t{0} - 3);  // the notes
    const ElfImage image = parse_elf(file, file.size());
    EXPECT_TRUE(image.notes.empty());
    EXPECT_LT(image.end, test::kElfEnd);
}

TEST(Elf, pvh_entry_is_found_behind_other_notes) {
    EXPECT_EQ(find_pvh_entry(test::pvh_notes(0x100'0850)), GuestAddress{0x100'0850});
}

TEST(Elf, pvh_entry_of_4_bytes_is_found) {
    Bytes notes;
    test::append_note(notes, std::string_view{"Xen\0", 4}, 18,
                      test::bytes_of(std::string_view{"\x50\x08\0\x01", 4}));
    EXPECT_EQ(find_pvh_entry(notes), GuestAddress{0x100'0850});
}

TEST(Elf, malformed_notes_give_no_pvh_entry) {
    const std::string_view xen{"Xen\0", 4};
    Bytes other_name;
    test::append_note(other_name, std::string_view{"XenX", 4}, 18, Bytes(8));
    Bytes odd_size;
    test::append_note(odd_size, xen, 18, Bytes(5));
    EXPECT_EQ(find_pvh_entry({}), std::nullopt);
    EXPECT_EQ(find_pvh_entry(other_name), std::nullopt);
    EXPECT_EQ(find_pvh_entry(odd_size), std::nullopt);
    EXPECT_EQ(find_pvh_entry(test::pvh_notes(0x1'0000'0000)), std::nullopt) << "no address of 32 bits";
    for (const uint32_t size : {0xffff'ffffU, 0xffff'fffcU, 0x8000'0000U, 1000U}) {
        for (const size_t field : {offsetof(Elf64_Nhdr, n_namesz), offsetof(Elf64_Nhdr, n_descsz)}) {
            Bytes notes = test::pvh_notes();
            poke(notes, field, size);
            EXPECT_EQ(find_pvh_entry(notes), std::nullopt) << size;
        }
    }
    const Bytes whole = test::pvh_notes();
    for (size_t size = 0; size < whole.size(); ++size) {
        EXPECT_EQ(find_pvh_entry(std::span{whole}.first(size)), std::nullopt) << size;
    }
}

TEST(Elf, segments_are_placed_and_nothing_else_is_touched) {
    const Bytes file = test::build_elf();
    const ElfImage image = parse_elf(file, file.size());
    const GuestRange ram[] = {GuestRange::of(0, 0x180'0000)};
    GuestMemory memory{ram, Mapping::Pages::transparent};
    const uint64_t offset = 0x20'0000;
    place_segments(image, file, memory, offset);

    Bytes expected(0x180'0000);
    for (const test::BuiltSegment& segment : test::kSegments) {
        std::copy_n(file.begin() + static_cast<ptrdiff_t>(segment.file_offset), segment.file_size,
                    expected.begin() + static_cast<ptrdiff_t>(segment.address + offset));
    }
    const auto got = memory.slice(ram[0]).value();
    EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin()));
}

TEST(Elf, too_little_memory_is_said_as_that) {
    const Bytes file = test::build_elf();
    const ElfImage image = parse_elf(file, file.size());
    const GuestRange ram[] = {GuestRange::of(0, 0x100'6000)};
    GuestMemory memory{ram, Mapping::Pages::transparent};
    try {
        place_segments(image, file, memory, 0);
        FAIL();
    } catch (const BadImage& bad) {
        EXPECT_EQ(bad.status(), ExitStatus::no_resources);
    }
}

}  // namespace
}  // namespace hull::boot
