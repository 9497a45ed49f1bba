// How decompress.cpp drives the libraries that unpack by and by: gzip, bzip2, LZMA and XZ. For decompress.cpp
// only.
#pragma once

#include <bzlib.h>
#include <lzma.h>
#include <sys/mman.h>
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>

#include "boot/image/bad_image.h"
#include "boot/image/decompress.h"

namespace hull::boot {

// The largest dictionary that Linux's build asks of xz is 128 MiB, of lzma 64 MiB.
inline constexpr uint64_t kLzmaMemoryLimit = uint64_t{256} << 20;

[[noreturn]] inline void corrupted(Compression compression) {
    throw BadImage{"its " + std::string{name_of(compression)} + " data is corrupted", "get the file again"};
}

[[noreturn]] inline void cut_off(Compression compression) {
    throw BadImage{"its " + std::string{name_of(compression)} + " data ends too early", "get the file again"};
}

[[noreturn]] inline void wrong_size(Compression compression, bool too_much) {
    throw BadImage{"its " + std::string{name_of(compression)} + " data unpacks to " +
                       (too_much ? "more" : "less") + " than the file says",
                   "get the file again"};
}

[[noreturn]] inline void no_memory(Compression compression) {
    throw BadImage{"there is no memory to unpack its " + std::string{name_of(compression)} + " data", "",
                   ExitStatus::no_resources};
}

// The libraries' working memory is many MiB for a moment. From mmap it surely goes back to the host, whereas
// malloc keeps what it was given once it has seen such a size freed.
inline constexpr size_t kAllocationHeader = 64;

inline void* allocate_pages(void* /*opaque*/, size_t count, size_t size) {
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

inline void free_pages(void* /*opaque*/, void* address) {
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

}  // namespace hull::boot
