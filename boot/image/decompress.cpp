#include "boot/image/decompress.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "boot/image/bad_image.h"
#include "boot/image/little_endian.h"

namespace hull::boot {

namespace {

constexpr uint32_t kLz4LegacyMagic = 0x184c2102;
constexpr size_t kLz4LegacyBlock = size_t{8} << 20;
// The largest dictionary that Linux's build asks of xz is 128 MiB, of lzma 64 MiB.
constexpr uint64_t kLzmaMemoryLimit = uint64_t{256} << 20;

[[noreturn]] void corrupted(Compression compression) {
    throw BadImage{"its " + std::string{name_of(compression)} + " data is corrupted", "get the file again"};
}

[[noreturn]] void cut_off(Compression compression) {
    throw BadImage{"its " + std::string{name_of(compression)} + " data ends too early", "get the file again"};
}

[[noreturn]] void wrong_size(Compression compression, bool too_much) {
    throw BadImage{"its " + std::string{name_of(compression)} + " data unpacks to " +
                       (too_much ? "more" : "less") + " than the file says",
                   "get the file again"};
}

[[noreturn]] void no_memory(Compression compression) {
    throw BadImage{"there is no memory to unpack its " + std::string{name_of(compression)} + " data", "",
                   ExitStatus::no_resources};
}

// The libraries' working memory is many MiB for a moment. From mmap it surely goes back to the host, whereas
// malloc keeps what it was given once it has seen such a size freed.
constexpr size_t kAllocationHeader = 64;

void* allocate_pages(void* /*opaque*/, size_t count, size_t size) {
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, kAllocationHeader, &bytes)) {
        return nullptr;
    }
    void* pages =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        return nullptr;
    }
    std::memcpy(pages, &bytes, sizeof bytes);
    return static_cast<std::byte*>(pages) + kAllocationHeader;
}

void free_pages(void* /*opaque*/, void* address) {
    if (address != nullptr) {
        void* pages = static_cast<std::byte*>(address) - kAllocationHeader;
        size_t bytes = 0;
        std::memcpy(&bytes, pages, sizeof bytes);
        munmap(pages, bytes);
    }
}

// Each decoder has step(rest): it unpacks into `rest`, cuts from its front what was written, and returns
// whether the stream has ended. It makes progress or throws.

class GzipDecoder {
  public:
    explicit GzipDecoder(std::span<const std::byte> packed) {
        stream_.zalloc = [](void* opaque, unsigned count, unsigned size) {
            return allocate_pages(opaque, count, size);
        };
        stream_.zfree = free_pages;
        stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
        stream_.avail_in =
            static_cast<uInt>(std::min<size_t>(packed.size(), std::numeric_limits<uInt>::max()));
        if (inflateInit2(&stream_, MAX_WBITS + 16) != Z_OK) {  // + 16: a gzip header, and no other
            no_memory(Compression::gzip);
        }
    }
    GzipDecoder(const GzipDecoder&) = delete;
    GzipDecoder& operator=(const GzipDecoder&) = delete;
    ~GzipDecoder() { inflateEnd(&stream_); }

    bool step(std::span<std::byte>& rest) {
        const size_t room = std::min<size_t>(rest.size(), std::numeric_limits<uInt>::max());
        stream_.next_out = reinterpret_cast<Bytef*>(rest.data());
        stream_.avail_out = static_cast<uInt>(room);
        const int result = inflate(&stream_, Z_NO_FLUSH);
        rest = rest.subspan(room - stream_.avail_out);
        switch (result) {
            case Z_STREAM_END:
                return true;
            case Z_OK:
                return false;
            case Z_BUF_ERROR:
                cut_off(Compression::gzip);
            case Z_MEM_ERROR:
                no_memory(Compression::gzip);
            default:
                corrupted(Compression::gzip);
        }
    }

  private:
    z_stream stream_{};
};

class Bzip2Decoder {
  public:
    explicit Bzip2Decoder(std::span<const std::byte> packed) {
        stream_.bzalloc = [](void* opaque, int count, int size) {
            return allocate_pages(opaque, static_cast<size_t>(count), static_cast<size_t>(size));
        };
        stream_.bzfree = free_pages;
        stream_.next_in = const_cast<char*>(reinterpret_cast<const char*>(packed.data()));
        stream_.avail_in =
            static_cast<unsigned>(std::min<size_t>(packed.size(), std::numeric_limits<unsigned>::max()));
        if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) {
            no_memory(Compression::bzip2);
        }
    }
    Bzip2Decoder(const Bzip2Decoder&) = delete;
    Bzip2Decoder& operator=(const Bzip2Decoder&) = delete;
    ~Bzip2Decoder() { BZ2_bzDecompressEnd(&stream_); }

    bool step(std::span<std::byte>& rest) {
        const size_t room = std::min<size_t>(rest.size(), std::numeric_limits<unsigned>::max());
        const unsigned input = stream_.avail_in;
        stream_.next_out = reinterpret_cast<char*>(rest.data());
        stream_.avail_out = static_cast<unsigned>(room);
        const int result = BZ2_bzDecompress(&stream_);
        const size_t written = room - stream_.avail_out;
        rest = rest.subspan(written);
        switch (result) {
            case BZ_STREAM_END:
                return true;
            case BZ_OK:
                break;
            case BZ_MEM_ERROR:
                no_memory(Compression::bzip2);
            default:
                corrupted(Compression::bzip2);
        }
        if (written == 0 && stream_.avail_in == input) {
            cut_off(Compression::bzip2);
        }
        return false;
    }

  private:
    bz_stream stream_{};
};

/// XZ and the older LZMA-alone format.
class LzmaDecoder {
  public:
    LzmaDecoder(std::span<const std::byte> packed, Compression compression) : compression_{compression} {
        stream_.allocator = &allocator_;
        stream_.next_in = reinterpret_cast<const uint8_t*>(packed.data());
        stream_.avail_in = packed.size();
        const lzma_ret result = compression == Compression::xz
                                    ? lzma_stream_decoder(&stream_, kLzmaMemoryLimit, 0)
                                    : lzma_alone_decoder(&stream_, kLzmaMemoryLimit);
        if (result != LZMA_OK) {
            no_memory(compression);
        }
    }
    LzmaDecoder(const LzmaDecoder&) = delete;
    LzmaDecoder& operator=(const LzmaDecoder&) = delete;
    ~LzmaDecoder() { lzma_end(&stream_); }

    bool step(std::span<std::byte>& rest) {
        stream_.next_out = reinterpret_cast<uint8_t*>(rest.data());
        stream_.avail_out = rest.size();
        const lzma_ret result = lzma_code(&stream_, LZMA_FINISH);
        rest = rest.last(stream_.avail_out);
        switch (result) {
            case LZMA_STREAM_END:
                return true;
            case LZMA_OK:
                return false;
            case LZMA_BUF_ERROR:
                cut_off(compression_);
            case LZMA_MEM_ERROR:
                no_memory(compression_);
            case LZMA_MEMLIMIT_ERROR:
                throw BadImage{"its " + std::string{name_of(compression_)} +
                                   " data asks for a larger dictionary than any kernel's",
                               "get the file again"};
            default:
                corrupted(compression_);
        }
    }

  private:
    Compression compression_;
    lzma_allocator allocator_{allocate_pages, free_pages, nullptr};
    lzma_stream stream_ = LZMA_STREAM_INIT;
};

template <typename Decoder>
size_t fill_start(Decoder&& decoder, std::span<std::byte> target) {
    std::span<std::byte> rest = target;
    while (!rest.empty() && !decoder.step(rest)) {
    }
    return target.size() - rest.size();
}

template <typename Decoder>
void fill_exactly(Decoder&& decoder, Compression compression, std::span<std::byte> target) {
    std::span<std::byte> rest = target;
    bool ended = false;
    while (!ended && !rest.empty()) {
        ended = decoder.step(rest);
    }
    if (!rest.empty()) {
        wrong_size(compression, false);
    }
    // Some streams say that they end only when asked for one byte more.
    std::byte beyond{};
    rest = {&beyond, 1};
    while (!ended && !rest.empty()) {
        ended = decoder.step(rest);
    }
    if (rest.empty()) {
        wrong_size(compression, true);
    }
}

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
        if (*size > LZ4_COMPRESSBOUND(kLz4LegacyBlock)) {
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
    const int wanted = static_cast<int>(std::min(target.size(), kLz4LegacyBlock));
    const int size = LZ4_decompress_safe_partial(reinterpret_cast<const char*>(block->data()),
                                                 reinterpret_cast<char*>(target.data()),
                                                 static_cast<int>(block->size()), wanted, wanted);
    if (size < 0) {
        corrupted(Compression::lz4);
    }
    return static_cast<size_t>(size);
}

void unpack_lz4(std::span<const std::byte> packed, std::span<std::byte> target) {
    Lz4Blocks blocks{packed};
    while (!target.empty()) {
        const auto block = blocks.next();
        if (!block) {
            wrong_size(Compression::lz4, false);
        }
        const int room = static_cast<int>(std::min(target.size(), kLz4LegacyBlock));
        const int size = LZ4_decompress_safe(reinterpret_cast<const char*>(block->data()),
                                             reinterpret_cast<char*>(target.data()),
                                             static_cast<int>(block->size()), room);
        if (size < 0) {
            corrupted(Compression::lz4);
        }
        target = target.subspan(static_cast<size_t>(size));
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
