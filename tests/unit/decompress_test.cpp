#include "boot/image/decompress.h"

#include <gtest/gtest.h>

#include "boot/image/bad_image.h"
#include "tests/support/kernel_builder.h"

namespace hull::boot {
namespace {

using test::Bytes;

class DecompressEach : public testing::TestWithParam<Compression> {
  protected:
    // Larger than one block of LZ4's and than the buffers of the streaming libraries.
    Bytes data_ = test::pattern(120'000, 1);
    Bytes packed_ = test::pack(GetParam(), data_);

    Bytes unpacked(const Bytes& packed, size_t size) {
        Bytes target(size);
        unpack(GetParam(), packed, target);
        return target;
    }
};

TEST_P(DecompressEach, is_told_by_its_first_bytes) {
    EXPECT_EQ(compression_of(packed_), GetParam());
}

TEST_P(DecompressEach, gives_back_what_was_packed) {
    EXPECT_EQ(unpacked(packed_, data_.size()), data_);
}

TEST_P(DecompressEach, gives_back_the_first_bytes_alone) {
    Bytes start(4096);
    ASSERT_EQ(unpack_start(GetParam(), packed_, start), start.size());
    EXPECT_TRUE(std::equal(start.begin(), start.end(), data_.begin()));
}

TEST_P(DecompressEach, first_bytes_of_something_shorter_are_all_there_are) {
    const Bytes data = test::pattern(100, 5);
    Bytes start(4096);
    EXPECT_EQ(unpack_start(GetParam(), test::pack(GetParam(), data), start), data.size());
}

TEST_P(DecompressEach, more_than_the_file_says_is_refused_and_not_written) {
    EXPECT_THROW(unpacked(packed_, data_.size() - 1), BadImage);
    EXPECT_THROW(unpacked(packed_, 1), BadImage);
}

TEST_P(DecompressEach, less_than_the_file_says_is_refused) {
    EXPECT_THROW(unpacked(packed_, data_.size() + 1), BadImage);
    EXPECT_THROW(unpacked(packed_, data_.size() * 3), BadImage);
}

TEST_P(DecompressEach, a_file_cut_off_anywhere_is_refused) {
    for (size_t size = 0; size + 1 < packed_.size(); size += 1 + packed_.size() / 20) {
        Bytes cut{packed_.begin(), packed_.begin() + static_cast<ptrdiff_t>(size)};
        EXPECT_THROW(unpacked(cut, data_.size()), BadImage) << size;
    }
}

TEST_P(DecompressEach, damage_never_reaches_outside_of_the_target) {
    for (size_t at = 0; at < packed_.size(); at += 1 + packed_.size() / 30) {
        Bytes damaged = packed_;
        damaged[at] ^= std::byte{0x55};
        Bytes start(512);
        try {
            (void)unpack_start(GetParam(), damaged, start);
            unpacked(damaged, data_.size());
        } catch (const BadImage& bad) {
            EXPECT_NE(std::string{bad.what()}.find(name_of(GetParam())), std::string::npos) << bad.what();
        }
    }
}

INSTANTIATE_TEST_SUITE_P(All, DecompressEach,
                         testing::Values(Compression::gzip, Compression::bzip2, Compression::lzma,
                                         Compression::xz, Compression::lz4, Compression::zstd),
                         [](const auto& each) { return std::string{name_of(each.param)}; });

TEST(Decompress, unknown_and_empty_data_is_not_recognised) {
    EXPECT_EQ(compression_of({}), std::nullopt);
    EXPECT_EQ(compression_of(test::bytes_of("\x89LZO")), std::nullopt);
    EXPECT_EQ(compression_of(test::bytes_of("\x1f")), std::nullopt);
    EXPECT_EQ(compression_of(test::bytes_of("\x04\x22\x4d\x18")), std::nullopt) << "the LZ4 frame of files";
}

TEST(Decompress, checksums_are_verified) {
    for (const Compression compression : {Compression::gzip, Compression::xz, Compression::zstd}) {
        const Bytes data = test::pattern(5000, 3);
        Bytes packed = test::pack(compression, data);
        // zstd and gzip end with the checksum (gzip with the size behind it), xz's stands before the index.
        const size_t from_end = compression == Compression::gzip   ? 8
                                : compression == Compression::zstd ? 1
                                                                   : 28;
        packed[packed.size() - from_end] ^= std::byte{1};
        Bytes target(data.size());
        EXPECT_THROW(unpack(compression, packed, target), BadImage) << name_of(compression);
    }
}

TEST(Decompress, lz4_of_many_blocks) {
    const Bytes data = test::pattern(100'000, 4);
    Bytes target(data.size());
    unpack(Compression::lz4, test::pack_lz4(data, 30'000), target);
    EXPECT_EQ(target, data);
}

TEST(Decompress, lz4_block_that_unpacks_to_more_than_8_mib_is_refused) {
    const Bytes zeros((size_t{8} << 20) + 1);
    Bytes target(zeros.size());
    EXPECT_THROW(unpack(Compression::lz4, test::pack_lz4(zeros, zeros.size()), target), BadImage);
}

TEST(Decompress, lz4_block_of_an_absurd_size_is_refused) {
    Bytes packed = test::pack_lz4(test::pattern(1000, 1));
    for (const uint32_t size : {0x7fff'ffffU, 0xffff'ffffU, 0x0090'0000U, uint32_t(packed.size())}) {
        test::poke(packed, 4, size);
        Bytes target(1000);
        EXPECT_THROW(unpack(Compression::lz4, packed, target), BadImage) << size;
        EXPECT_THROW((void)unpack_start(Compression::lz4, packed, target), BadImage) << size;
    }
}

TEST(Decompress, lz4_frames_may_be_joined_and_end_with_a_zero) {
    Bytes packed = test::pack_lz4(test::pattern(1000, 1));
    const Bytes again = packed;
    packed.insert(packed.end(), again.begin(), again.end());
    test::append(packed, uint64_t{0});
    Bytes target(2000);
    unpack(Compression::lz4, packed, target);
    EXPECT_TRUE(std::equal(target.begin(), target.begin() + 1000, target.begin() + 1000));
}

TEST(Decompress, zstd_with_the_window_of_kernels) {
    const Bytes data = test::pattern(300'000, 9);
    const Bytes packed = test::pack_zstd(data, 27);
    Bytes target(data.size());
    unpack(Compression::zstd, packed, target);
    EXPECT_EQ(target, data);
    EXPECT_EQ(unpack_start(Compression::zstd, packed, std::span{target}.first(64)), 64U);
}

TEST(Decompress, a_dictionary_larger_than_any_kernels_is_refused_not_allocated) {
    const Bytes data = test::pattern(1000, 2);
    Bytes packed = test::pack(Compression::lzma, data);
    test::poke(packed, 1, uint32_t{0xc000'0000});
    Bytes target(data.size());
    try {
        unpack(Compression::lzma, packed, target);
        FAIL();
    } catch (const BadImage& bad) {
        EXPECT_NE(std::string{bad.what()}.find("dictionary"), std::string::npos) << bad.what();
    }
}

TEST(Decompress, bytes_behind_the_stream_do_no_harm) {
    for (const Compression compression :
         {Compression::gzip, Compression::bzip2, Compression::lzma, Compression::xz, Compression::zstd}) {
        const Bytes data = test::pattern(3000, 7);
        Bytes packed = test::pack(compression, data);
        packed.resize(packed.size() + 100, std::byte{0xee});
        Bytes target(data.size());
        EXPECT_NO_THROW(unpack(compression, packed, target)) << name_of(compression);
        EXPECT_EQ(target, data);
    }
}

}  // namespace
}  // namespace hull::boot
