#include "boot/image/randomize.h"

#include <gtest/gtest.h>

#include <set>

#include "boot/image/bad_image.h"
#include "boot/image/little_endian.h"
#include "tests/support/kernel_builder.h"

namespace hull::boot {
namespace {

using test::Bytes;
using test::kLinkAddress;
using test::poke;
using test::relocation_table;

constexpr uint64_t kMiB = 1 << 20;

void relocate(const Bytes& table, Bytes& image, uint64_t offset) {
    apply_relocations(find_relocations(table).value(), image, kLinkAddress, offset);
}

TEST(Relocations, table_with_three_lists_is_recognised) {
    const Bytes table = relocation_table({1, 2, 3}, {4, 5}, {6});
    const auto relocations = find_relocations(table);
    ASSERT_TRUE(relocations);
    EXPECT_EQ(relocations->absolute32.size(), 12U);
    EXPECT_EQ(relocations->inverse32.size(), 8U);
    EXPECT_EQ(relocations->absolute64.size(), 4U);
}

TEST(Relocations, table_of_newer_kernels_without_inverse_list_is_recognised) {
    const Bytes table = relocation_table({1, 2, 3}, {}, {6, 7}, false);
    const auto relocations = find_relocations(table);
    ASSERT_TRUE(relocations);
    EXPECT_EQ(relocations->absolute32.size(), 12U);
    EXPECT_EQ(relocations->inverse32.size(), 0U);
    EXPECT_EQ(relocations->absolute64.size(), 8U);
}

TEST(Relocations, long_tables_are_taken_apart_where_the_zeros_stand) {
    std::vector<uint32_t> many(100'003);
    for (uint32_t index = 0; index < many.size(); ++index) {
        many[index] = index + 1;
    }
    for (const size_t inverse : {size_t{0}, size_t{1}, size_t{31}, size_t{33}}) {
        const Bytes table = relocation_table({1, 2}, {many.begin(), many.begin() + ptrdiff_t(inverse)}, many);
        const auto relocations = find_relocations(table);
        ASSERT_TRUE(relocations) << inverse;
        EXPECT_EQ(relocations->absolute32.size(), 8U);
        EXPECT_EQ(relocations->inverse32.size(), inverse * 4);
        EXPECT_EQ(relocations->absolute64.size(), many.size() * 4);
    }
}

TEST(Relocations, what_is_no_table_is_not_taken_for_one) {
    EXPECT_FALSE(find_relocations({}));
    EXPECT_FALSE(find_relocations(Bytes(3)));
    EXPECT_FALSE(find_relocations(Bytes(4)));
    EXPECT_FALSE(find_relocations(Bytes(16))) << "four lists";
    EXPECT_FALSE(find_relocations(Bytes(4096)));
    EXPECT_FALSE(find_relocations(test::pattern(4096, 1))) << "no zero in front";
    Bytes table = relocation_table({1}, {2}, {3});
    EXPECT_FALSE(find_relocations(std::span{table}.subspan(4))) << "cut off in front";
    EXPECT_FALSE(find_relocations(std::span{table}.first(table.size() - 1)));
    table.insert(table.begin(), 4, std::byte{0});
    EXPECT_FALSE(find_relocations(table)) << "one list more";
}

TEST(Relocations, values_follow_the_kernel) {
    Bytes image(64);
    poke(image, 0, uint32_t{0x8100'0010});
    poke(image, 5, uint64_t{0xffff'ffff'8100'0020});
    poke(image, 20, uint32_t{0x7f00'0000});
    poke(image, 60, uint32_t{0x8100'0030});
    relocate(relocation_table({0, 60}, {20}, {5}), image, 0x3e00'0000);
    EXPECT_EQ(read_at<uint32_t>(image, 0), 0xbf00'0010U);
    EXPECT_EQ(read_at<uint64_t>(image, 5), 0xffff'ffff'bf00'0020U);
    EXPECT_EQ(read_at<uint32_t>(image, 20), 0x4100'0000U);
    EXPECT_EQ(read_at<uint32_t>(image, 60), 0xbf00'0030U);
}

TEST(Relocations, entry_outside_of_the_kernel_is_refused) {
    for (const uint32_t offset :
         {61U, 64U, 0x1000U, 0x7eff'ffffU, 0xffff'fffcU, 0xff00'0000U, 0x8000'0000U}) {
        Bytes image(64);
        EXPECT_THROW(relocate(relocation_table({offset}, {}, {}), image, 2 * kMiB), BadImage) << offset;
        EXPECT_THROW(relocate(relocation_table({}, {offset}, {}), image, 2 * kMiB), BadImage) << offset;
        EXPECT_THROW(relocate(relocation_table({}, {}, {offset}), image, 2 * kMiB), BadImage) << offset;
    }
    Bytes image(64);
    EXPECT_NO_THROW(relocate(relocation_table({60}, {60}, {56}), image, 2 * kMiB));
    EXPECT_THROW(relocate(relocation_table({}, {}, {57}), image, 2 * kMiB), BadImage);
    Bytes tiny(3);
    EXPECT_THROW(relocate(relocation_table({0}, {}, {}), tiny, 2 * kMiB), BadImage);
}

TEST(Relocations, value_that_would_overflow_is_refused) {
    Bytes image(64);
    poke(image, 0, uint32_t{0xffff'fff0});
    EXPECT_THROW(relocate(relocation_table({0}, {}, {}), image, 2 * kMiB), BadImage);
    poke(image, 0, ~uint64_t{0});
    EXPECT_THROW(relocate(relocation_table({}, {}, {0}), image, 2 * kMiB), BadImage);
    poke(image, 0, uint32_t{0x8000'0000});
    EXPECT_THROW(relocate(relocation_table({}, {0}, {}), image, 2 * kMiB), BadImage);
}

TEST(RandomOffsets, kernel_stays_in_its_map_and_below_the_end_of_memory) {
    const GuestRange extent = GuestRange::of(kLinkAddress, 46 * kMiB);
    const uint64_t used_end = kLinkAddress + 51 * kMiB;
    const uint64_t memory_end = 192 * kMiB;
    std::set<uint64_t> physical;
    std::set<uint64_t> virtual_offsets;
    for (uint64_t entropy = 0; entropy < 4000; ++entropy) {
        const RandomOffsets offsets = random_offsets(extent, used_end, memory_end, entropy << 32 | entropy);
        EXPECT_EQ(offsets.physical_offset % (2 * kMiB), 0U);
        EXPECT_EQ(offsets.virtual_offset % (2 * kMiB), 0U);
        EXPECT_LE(used_end + offsets.physical_offset, memory_end);
        EXPECT_LE(raw(extent.last()) + offsets.virtual_offset, (1 << 30) - 1U);
        physical.insert(offsets.physical_offset);
        virtual_offsets.insert(offsets.virtual_offset);
    }
    EXPECT_EQ(physical.size(), (192U - 16 - 51) / 2 + 1);
    EXPECT_EQ(virtual_offsets.size(), (1024U - 16 - 46) / 2 + 1);
}

TEST(RandomOffsets, where_memory_is_short_only_virtual_addresses_move) {
    const GuestRange extent = GuestRange::of(kLinkAddress, 10 * kMiB);
    for (const uint64_t memory_end : {uint64_t{0}, 16 * kMiB, 26 * kMiB, 28 * kMiB - 1}) {
        const RandomOffsets offsets = random_offsets(extent, 26 * kMiB, memory_end, ~uint64_t{0});
        EXPECT_EQ(offsets.physical_offset, 0U) << memory_end;
        EXPECT_GT(offsets.virtual_offset, 0U);
    }
    const GuestRange huge = GuestRange::of(kLinkAddress, 2048 * kMiB);
    EXPECT_EQ(random_offsets(huge, 3072 * kMiB, 3072 * kMiB, ~uint64_t{0}).virtual_offset, 0U);
}

}  // namespace
}  // namespace hull::boot
