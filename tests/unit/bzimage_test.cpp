#include "boot/image/bzimage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "boot/image/bad_image.h"
#include "tests/support/kernel_builder.h"

namespace hull::boot {
namespace {

using test::Bytes;
using test::poke;
using test::setup_field;

TEST(BzImage, parts_are_where_the_header_says) {
    const Bytes payload = test::pattern(1000, 1);
    const Bytes file = test::build_bzimage(payload);
    ASSERT_TRUE(is_bzimage(file));
    const BzImage image = parse_bzimage(file);
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(), image.payload.begin(), image.payload.end()));
    EXPECT_EQ(image.protected_mode.data(), file.data() + test::kSetupSize);
    EXPECT_EQ(image.raw_header.data(), file.data() + 0x1f1);
    EXPECT_EQ(image.raw_header.size(), sizeof(setup_header));
    EXPECT_EQ(+image.header.pref_address, test::kLinkAddress);
    EXPECT_EQ(self_unpacking_address(image), test::kLinkAddress);
}

TEST(BzImage, other_files_are_not_taken_for_one) {
    EXPECT_FALSE(is_bzimage({}));
    EXPECT_FALSE(is_bzimage(test::build_elf()));
    const Bytes file = test::build_bzimage(test::pattern(100, 1));
    for (const size_t size : {size_t{0x1fe}, size_t{0x202}, size_t{0x207}}) {
        EXPECT_FALSE(is_bzimage(std::span{file}.first(size))) << size;
    }
    for (const size_t mark : {size_t{0x1fe}, size_t{0x202}}) {
        Bytes other = file;
        other[mark] ^= std::byte{1};
        EXPECT_FALSE(is_bzimage(other)) << mark;
    }
}

TEST(BzImage, setup_sectors_of_zero_mean_four) {
    Bytes file = test::build_bzimage(test::pattern(5000, 1));
    poke(file, setup_field(offsetof(setup_header, setup_sects)), uint8_t{0});
    poke(file, setup_field(offsetof(setup_header, payload_length)), uint32_t{1000});
    EXPECT_EQ(parse_bzimage(file).protected_mode.data(), file.data() + size_t{5} * 512);
}

TEST(BzImage, header_of_an_older_length_leaves_newer_fields_zero) {
    Bytes file = test::build_bzimage(test::pattern(1000, 1));
    poke(file, 0x201, uint8_t{0x264 - 0x202});
    poke(file, 0x268, uint32_t{0x1234});
    const BzImage image = parse_bzimage(file);
    EXPECT_EQ(image.raw_header.size(), 0x264U - 0x1f1U);
    EXPECT_EQ(+image.header.kernel_info_offset, 0U);
    EXPECT_EQ(+image.header.init_size, 0x10000U);
}

struct Damage {
    const char* name;
    std::function<void(Bytes&)> damage;
    const char* message;
};

std::ostream& operator<<(std::ostream& out, const Damage& damage) {
    return out << damage.name;
}

template <typename T>
std::function<void(Bytes&)> set(size_t offset_in_header, T value) {
    return [=](Bytes& file) { poke(file, setup_field(offset_in_header), value); };
}

class DamagedBzImage : public testing::TestWithParam<Damage> {};

TEST_P(DamagedBzImage, is_refused_with_a_sentence) {
    Bytes file = test::build_bzimage(test::pattern(1000, 1));
    GetParam().damage(file);
    ASSERT_TRUE(is_bzimage(file));
    try {
        (void)self_unpacking_address(parse_bzimage(file));
        FAIL() << "was accepted";
    } catch (const BadImage& bad) {
        EXPECT_EQ(bad.status(), ExitStatus::bad_file);
        EXPECT_THAT(bad.what(), testing::HasSubstr(GetParam().message));
    }
}

const Damage damages[] = {
    {"protocol_2_11", set(offsetof(setup_header, version), uint16_t{0x020b}), "2.11 is older"},
    {"kernel_of_32_bits", set(offsetof(setup_header, xloadflags), uint16_t{XLF_CAN_BE_LOADED_ABOVE_4G}),
     "32-bit"},
    {"header_end_too_early", set(0x201 - 0x1f1, uint8_t{0x20}), "setup header ends"},
    {"header_end_too_late", set(0x201 - 0x1f1, uint8_t{0xff}), "setup header ends"},
    {"cut_off_in_the_header", [](Bytes& file) { file.resize(0x240); }, "setup header ends"},
    {"cut_off_in_the_real_mode_part", [](Bytes& file) { file.resize(test::kSetupSize); }, "ends before"},
    {"255_setup_sectors", set(offsetof(setup_header, setup_sects), uint8_t{255}), "ends before"},
    {"cut_off_in_the_payload", [](Bytes& file) { file.erase(file.end() - 100, file.end()); },
     "payload reaches past"},
    {"payload_offset_huge", set(offsetof(setup_header, payload_offset), uint32_t{0xffff'ffff}),
     "payload reaches past"},
    {"payload_length_huge", set(offsetof(setup_header, payload_length), uint32_t{0xffff'ffff}),
     "payload reaches past"},
    {"no_payload", set(offsetof(setup_header, payload_length), uint32_t{0}), "no compressed payload"},
    {"payload_of_3_bytes", set(offsetof(setup_header, payload_length), uint32_t{3}), "no compressed payload"},
    {"alignment_zero", set(offsetof(setup_header, kernel_alignment), uint32_t{0}), "not aligned"},
    {"alignment_no_power_of_two", set(offsetof(setup_header, kernel_alignment), uint32_t{0x300000}),
     "not aligned"},
    {"address_misaligned", set(offsetof(setup_header, pref_address), uint64_t{0x1000001}), "not aligned"},
    {"address_zero", set(offsetof(setup_header, pref_address), uint64_t{0}), "between 1 MiB and 4 GiB"},
    {"address_past_4_gib", set(offsetof(setup_header, pref_address), uint64_t{0x1'0000'0000}),
     "between 1 MiB and 4 GiB"},
    {"address_near_the_end", set(offsetof(setup_header, pref_address), ~uint64_t{0x1f'ffff}),
     "between 1 MiB and 4 GiB"},
    {"init_size_huge", set(offsetof(setup_header, init_size), uint32_t{0xffff'ffff}),
     "between 1 MiB and 4 GiB"},
};

INSTANTIATE_TEST_SUITE_P(Each, DamagedBzImage, testing::ValuesIn(damages),
                         [](const auto& each) { return std::string{each.param.name}; });

}  // namespace
}  // namespace hull::boot
