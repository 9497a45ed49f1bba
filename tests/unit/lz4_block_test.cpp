#include "boot/image/lz4_block.h"

#include <gtest/gtest.h>
#include <lz4.h>
#include <lz4hc.h>

#include <random>
#include <string>

#include "tests/support/kernel_builder.h"

namespace hull::boot {
namespace {

using test::Bytes;

std::byte byte(size_t value) {
    return static_cast<std::byte>(value);
}

void add_continuation(Bytes& block, size_t length) {
    for (; length >= 255; length -= 255) {
        block.push_back(byte(255));
    }
    block.push_back(byte(length));
}

/// Appends a sequence; a match of no length makes it the last one.
void add_sequence(Bytes& block, const Bytes& literals, size_t offset, size_t match) {
    const size_t length = match == 0 ? 0 : match - 4;
    block.push_back(byte(std::min<size_t>(literals.size(), 15) << 4 | std::min<size_t>(length, 15)));
    if (literals.size() >= 15) {
        add_continuation(block, literals.size() - 15);
    }
    block.insert(block.end(), literals.begin(), literals.end());
    if (match != 0) {
        block.push_back(byte(offset & 0xff));
        block.push_back(byte(offset >> 8));
        if (length >= 15) {
            add_continuation(block, length - 15);
        }
    }
}

std::optional<Bytes> unpacked(const Bytes& block, size_t room, Lz4Overflow overflow = Lz4Overflow::error) {
    Bytes target(room);
    const auto size = unpack_lz4_block(block, target, overflow);
    if (!size) {
        return std::nullopt;
    }
    target.resize(*size);
    return target;
}

/// What a match makes, byte by byte.
Bytes repeated(Bytes data, size_t offset, size_t match) {
    for (; match > 0; --match) {
        data.push_back(data[data.size() - offset]);
    }
    return data;
}

TEST(Lz4Block, every_offset_and_length_near_the_ends_and_far_from_them) {
    for (const size_t after : {0, 5, 63, 64, 65, 127, 128, 129, 300}) {
        for (size_t offset = 1; offset <= 40; ++offset) {
            for (const size_t match : {4, 5, 7, 8, 11, 15, 16, 17, 18, 19, 20, 33, 34, 60, 273, 274, 600}) {
                const Bytes start = test::pattern(40, 7);
                const Bytes end = test::pattern(after, 3);
                Bytes block;
                add_sequence(block, start, offset, match);
                add_sequence(block, end, 0, 0);
                Bytes expected = repeated(start, offset, match);
                expected.insert(expected.end(), end.begin(), end.end());
                ASSERT_EQ(unpacked(block, expected.size()), expected)
                    << "offset " << offset << " match " << match << " after " << after;
                ASSERT_EQ(unpacked(block, expected.size() - 1), std::nullopt);
            }
        }
    }
}

TEST(Lz4Block, every_number_of_literals) {
    for (size_t literals = 0; literals < 600; ++literals) {
        const Bytes start = test::pattern(16, 7);
        const Bytes middle = test::pattern(literals, 3);
        Bytes block;
        add_sequence(block, start, 16, 300);
        add_sequence(block, middle, 16, 300);
        add_sequence(block, {}, 0, 0);
        Bytes expected = repeated(start, 16, 300);
        expected.insert(expected.end(), middle.begin(), middle.end());
        expected = repeated(expected, 16, 300);
        ASSERT_EQ(unpacked(block, expected.size()), expected) << literals;
    }
}

TEST(Lz4Block, unpacks_what_liblz4_packs) {
    std::mt19937 random{1};
    for (const size_t size : {1, 12, 13, 100, 1000, 65'530, 65'536, 70'000, 200'000, 1'000'000}) {
        for (const unsigned kinds : {2U, 5U, 30U, 256U}) {
            // Runs of few different bytes, repeated from all distances.
            Bytes data;
            while (data.size() < size) {
                const size_t run = 1 + random() % (random() % 10 == 0 ? 3000 : 20);
                const bool again = random() % 2 == 0 && !data.empty();
                const size_t back = again ? 1 + random() % data.size() : 0;
                for (size_t count = 0; count < run && data.size() < size; ++count) {
                    data.push_back(again ? data[data.size() - back] : byte(random() % kinds));
                }
            }
            for (const int level : {0, 9}) {
                Bytes block(static_cast<size_t>(LZ4_compressBound(static_cast<int>(size))));
                const auto* from = reinterpret_cast<const char*>(data.data());
                auto* to = reinterpret_cast<char*>(block.data());
                const int packed = level == 0 ? LZ4_compress_default(from, to, static_cast<int>(size),
                                                                     static_cast<int>(block.size()))
                                              : LZ4_compress_HC(from, to, static_cast<int>(size),
                                                                static_cast<int>(block.size()), level);
                block.resize(static_cast<size_t>(packed));
                ASSERT_TRUE(unpacked(block, size) == data) << size << " of " << kinds;
                ASSERT_TRUE(unpacked(block, size + 1000) == data) << size << " of " << kinds;
            }
        }
    }
}

TEST(Lz4Block, stops_when_the_target_is_full) {
    const Bytes start = test::pattern(200, 7);
    Bytes block;
    add_sequence(block, start, 150, 300);
    add_sequence(block, test::pattern(200, 3), 0, 0);
    const Bytes whole = unpacked(block, 700).value();
    ASSERT_EQ(whole.size(), 700U);
    for (size_t room = 1; room < whole.size(); ++room) {
        const Bytes expected{whole.begin(), whole.begin() + static_cast<ptrdiff_t>(room)};
        ASSERT_EQ(unpacked(block, room, Lz4Overflow::stop), expected) << room;
    }
}

/// A long good beginning, so that the sequence under test is met far from both ends too.
Bytes with_beginning(size_t sequences, const Bytes& literals, size_t offset, size_t match) {
    Bytes block;
    for (size_t index = 0; index < sequences; ++index) {
        add_sequence(block, test::pattern(10, 5), 10, 10);
    }
    add_sequence(block, literals, offset, match);
    add_sequence(block, test::pattern(400, 3), 0, 0);
    return block;
}

TEST(Lz4Block, offsets_that_reach_nowhere_are_refused) {
    for (const size_t match : {8, 40, 400}) {
        for (const size_t sequences : {0, 1, 20}) {
            const size_t written = sequences * 20 + 10;
            EXPECT_TRUE(unpacked(with_beginning(sequences, test::pattern(10, 1), written, match), 10'000));
            EXPECT_FALSE(
                unpacked(with_beginning(sequences, test::pattern(10, 1), written + 1, match), 10'000));
            EXPECT_FALSE(unpacked(with_beginning(sequences, test::pattern(10, 1), 0xffff, match), 10'000));
            EXPECT_FALSE(unpacked(with_beginning(sequences, test::pattern(10, 1), 0, match), 10'000));
        }
        // After 64 KiB every offset but 0 reaches something.
        EXPECT_TRUE(unpacked(with_beginning(5000, test::pattern(10, 1), 0xffff, match), 200'000));
        EXPECT_FALSE(unpacked(with_beginning(5000, test::pattern(10, 1), 0, match), 200'000));
    }
}

TEST(Lz4Block, lengths_beyond_either_buffer_are_refused) {
    for (const size_t length : {100'000, 10'000'000}) {
        EXPECT_FALSE(unpacked(with_beginning(20, test::pattern(10, 1), 5, length), 50'000)) << "a match";
        Bytes literals;
        for (int index = 0; index < 100; ++index) {
            add_sequence(literals, test::pattern(10, 5), 10, 10);
        }
        literals.push_back(byte(0xf0));
        add_continuation(literals, length);
        literals.resize(literals.size() + 1000);
        EXPECT_FALSE(unpacked(literals, 50'000)) << "literals that are not there";
        EXPECT_FALSE(unpacked(literals, 50'000'000)) << "literals that are not there";
    }
}

TEST(Lz4Block, a_length_that_no_byte_ends_is_refused) {
    for (size_t literals = 0; literals < 15; ++literals) {
        for (size_t count = 0; count < 100; ++count) {
            Bytes block;
            add_sequence(block, test::pattern(100, 5), 10, 10);
            add_sequence(block, test::pattern(literals, 5), 10, 19);
            block.back() = byte(255);
            block.insert(block.end(), count, byte(255));
            // Of exact size, so that the sanitizer sees a byte too many.
            block.shrink_to_fit();
            EXPECT_FALSE(unpacked(block, 100'000)) << literals << " literals, " << count << " bytes";
        }
    }
}

TEST(Lz4Block, a_block_cut_off_anywhere_is_refused_or_ends_after_literals) {
    const Bytes block = with_beginning(20, test::pattern(300, 1), 5, 700);
    for (size_t size = 0; size < block.size(); ++size) {
        const auto got = unpacked({block.begin(), block.begin() + static_cast<ptrdiff_t>(size)}, 10'000);
        if (got) {
            const Bytes whole = unpacked(block, 10'000).value();
            EXPECT_TRUE(std::equal(got->begin(), got->end(), whole.begin())) << size;
        }
    }
    EXPECT_FALSE(unpacked({}, 10));
}

}  // namespace
}  // namespace hull::boot
