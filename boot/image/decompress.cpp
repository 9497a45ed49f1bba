#include "boot/image/decompress.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "boot/image/bad_image.h"
#include "boot/image/little_endian.h"
#include "boot/image/lz4_block.h"
#include "boot/image/stream_decoders.h"

namespace hull::boot {

namespace {

constexpr uint32_t kLz4LegacyMagic = 0x184c2102;
constexpr size_t kLz4LegacyBlock = size_t{8} << 20;
// What so much data can grow to when packed: a byte more for each 255, and a few.
constexpr size_t kLz4LargestPacked = kLz4LegacyBlock + kLz4LegacyBlock / 255 + 16;

/// The blocks of a legacy LZ4 frame, one after the other: each unpacks by itself to at most 8 MiB.
class Lz4Blocks {
  public:
    explicit Lz4Blocks(std::span<const std::byte> packed) : rest_{packed} {
        if (read_at<uint32_t>(packed, 0) != kLz4LegacyMagic) {
            corrupted(Compression::lz4);
        }
    }

    /// Nothing at the end of the frame. A size of zero ends it, and so does the end of the data, as in the
    /// kernel.
    std::optional<std::span<const std::byte>> next() {
        auto size = read_at<uint32_t>(rest_, 0);
        while (size == kLz4LegacyMagic) {  // frames may be joined
            rest_ = rest_.subspan(sizeof *size);
            size = read_at<uint32_t>(rest_, 0);
        }
        if (!size || *size == 0) {
            return std::nullopt;
        }
        if (*size > kLz4LargestPacked) {
            corrupted(Compression::lz4);
        }
        const auto block = part_of(rest_, sizeof *size, *size);
        if (!block) {
            cut_off(Compression::lz4);
        }
        rest_ = rest_.subspan(sizeof *size + *size);
        return block;
    }

  private:
    std::span<const std::byte> rest_;
};

size_t unpack_lz4_start(std::span<const std::byte> packed, std::span<std::byte> target) {
    const auto block = Lz4Blocks{packed}.next();
    if (!block) {
        cut_off(Compression::lz4);
    }
    const auto size =
        unpack_lz4_block(*block, target.first(std::min(target.size(), kLz4LegacyBlock)), Lz4Overflow::stop);
    if (!size) {
        corrupted(Compression::lz4);
    }
    return *size;
}

void unpack_lz4(std::span<const std::byte> packed, std::span<std::byte> target) {
    Lz4Blocks blocks{packed};
    while (!target.empty()) {
        const auto block = blocks.next();
        if (!block) {
            wrong_size(Compression::lz4, false);
        }
        const auto size = unpack_lz4_block(*block, target.first(std::min(target.size(), kLz4LegacyBlock)),
                                           Lz4Overflow::error);
        if (!size) {
            corrupted(Compression::lz4);
        }
        target = target.subspan(*size);
    }
    if (blocks.next()) {
        wrong_size(Compression::lz4, true);
    }
}

struct FreeZstd {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
using ZstdContext = std::unique_ptr<ZSTD_DCtx, FreeZstd>;

ZstdContext make_zstd_context() {
    ZstdContext context{ZSTD_createDCtx()};
    if (context == nullptr) {
        no_memory(Compression::zstd);
    }
    return context;
}

size_t unpack_zstd_start(std::span<const std::byte> packed, std::span<std::byte> target) {
    const ZstdContext context = make_zstd_context();
    ZSTD_inBuffer input{packed.data(), packed.size(), 0};
    ZSTD_outBuffer output{target.data(), target.size(), 0};
    while (output.pos < output.size) {
        const size_t before = input.pos + output.pos;
        const size_t result = ZSTD_decompressStream(context.get(), &output, &input);
        if (ZSTD_isError(result) != 0) {
            corrupted(Compression::zstd);
        }
        if (result == 0) {
            break;
        }
        if (input.pos + output.pos == before) {
            cut_off(Compression::zstd);
        }
    }
    return output.pos;
}

void unpack_zstd(std::span<const std::byte> packed, std::span<std::byte> target) {
    const size_t frame = ZSTD_findFrameCompressedSize(packed.data(), packed.size());
    if (ZSTD_isError(frame) != 0) {
        corrupted(Compression::zstd);
    }
    // In one piece, so that the target serves as the window: up to 128 MiB that need not be allocated and
    // copied from.
    const ZstdContext context = make_zstd_context();
    const size_t size =
        ZSTD_decompressDCtx(context.get(), target.data(), target.size(), packed.data(), frame);
    if (ZSTD_isError(size) != 0) {
        if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall) {
            wrong_size(Compression::zstd, true);
        }
        corrupted(Compression::zstd);
    }
    if (size != target.size()) {
        wrong_size(Compression::zstd, false);
    }
}

}  // namespace

std::optional<Compression> compression_of(std::span<const std::byte> packed) {
    struct Magic {
        std::string_view bytes;
        Compression compression;
    };
    using namespace std::string_view_literals;
    // The third byte of gzip is its only method; of LZMA-alone the first two of the dictionary's size.
    static constexpr std::array kMagics{
        Magic{"\x1f\x8b\x08"sv, Compression::gzip},    Magic{"BZh"sv, Compression::bzip2},
        Magic{"\x5d\x00\x00"sv, Compression::lzma},    Magic{"\xfd\x37zXZ\x00"sv, Compression::xz},
        Magic{"\x02\x21\x4c\x18"sv, Compression::lz4}, Magic{"\x28\xb5\x2f\xfd"sv, Compression::zstd},
    };
    const std::string_view start{reinterpret_cast<const char*>(packed.data()),
                                 std::min<size_t>(packed.size(), 8)};
    for (const Magic& magic : kMagics) {
        if (start.starts_with(magic.bytes)) {
            return magic.compression;
        }
    }
    return std::nullopt;
}

std::string_view name_of(Compression compression) {
    switch (compression) {
        case Compression::gzip:
            return "gzip";
        case Compression::bzip2:
            return "bzip2";
        case Compression::lzma:
            return "LZMA";
        case Compression::xz:
            return "XZ";
        case Compression::lz4:
            return "LZ4";
        case Compression::zstd:
            return "Zstandard";
    }
    return "unknown";
}

size_t unpack_start(Compression compression, std::span<const std::byte> packed, std::span<std::byte> target) {
    switch (compression) {
        case Compression::gzip:
            return fill_start(GzipDecoder{packed}, target);
        case Compression::bzip2:
            return fill_start(Bzip2Decoder{packed}, target);
        case Compression::lzma:
        case Compression::xz:
            return fill_start(LzmaDecoder{packed, compression}, target);
        case Compression::lz4:
            return unpack_lz4_start(packed, target);
        case Compression::zstd:
            return unpack_zstd_start(packed, target);
    }
    return 0;
}

void unpack(Compression compression, std::span<const std::byte> packed, std::span<std::byte> target) {
    switch (compression) {
        case Compression::gzip:
            return fill_exactly(GzipDecoder{packed}, compression, target);
        case Compression::bzip2:
            return fill_exactly(Bzip2Decoder{packed}, compression, target);
        case Compression::lzma:
        case Compression::xz:
            return fill_exactly(LzmaDecoder{packed, compression}, compression, target);
        case Compression::lz4:
            return unpack_lz4(packed, target);
        case Compression::zstd:
            return unpack_zstd(packed, target);
    }
}

}  // namespace hull::boot
