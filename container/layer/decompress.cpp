#include "container/layer/decompress.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace hull::container {

namespace {

// They would be taken for archives that are not packed, and broken.
constexpr std::string_view kXzMark{
    "\xfd"
    "7zXZ\0",
    6};
constexpr std::string_view kBzip2Mark{"BZh"};

[[noreturn]] void fail(const std::string& why) {
    throw Error{ExitStatus::bad_file, "cannot unpack the layer", why, "get or make the image again"};
}

/// What comes in, a piece at a time, with a look at its beginning.
class Input {
  public:
    explicit Input(ByteSource source) : source_{std::move(source)} {}

    /// What is there of it; gets more where that is nothing. Empty at the end.
    std::span<const std::byte> available() {
        if (left_.empty()) {
            left_ = std::span{buffer_}.first(source_(buffer_));
        }
        return left_;
    }
    void take(size_t bytes) { left_ = left_.subspan(bytes); }
    /// Whether it begins with this mark, of which nothing is taken.
    bool begins_with(std::string_view mark) {
        while (left_.size() < mark.size()) {
            std::memmove(buffer_.data(), left_.data(), left_.size());
            const size_t got = source_(std::span{buffer_}.subspan(left_.size()));
            left_ = std::span{buffer_}.first(left_.size() + got);
            if (got == 0) {
                return false;
            }
        }
        return std::memcmp(left_.data(), mark.data(), mark.size()) == 0;
    }

  private:
    ByteSource source_;
    std::array<std::byte, 65'536> buffer_;
    std::span<const std::byte> left_ = std::span{buffer_}.first(0);
};

class Unpacker {
  public:
    virtual ~Unpacker() = default;
    /// Fills some of `room`; 0 at the end.
    virtual size_t read(std::span<std::byte> room) = 0;
};

class Plain final : public Unpacker {
  public:
    explicit Plain(Input& input) : input_{input} {}
    size_t read(std::span<std::byte> room) override {
        const auto part = input_.available();
        const size_t count = std::min(part.size(), room.size());
        std::memcpy(room.data(), part.data(), count);
        input_.take(count);
        return count;
    }

  private:
    Input& input_;
};

/// What is packed in pieces, one behind the other, each of which says where it ends.
class InPieces : public Unpacker {
  public:
    size_t read(std::span<std::byte> room) final {
        for (;;) {
            const auto part = input_.available();
            if (part.empty() && is_between_) {
                return 0;
            }
            if (part.empty()) {
                fail(std::string{"it ends too early ("} + format_ + ")");
            }
            const Step step = unpack(part, room);
            input_.take(step.taken);
            is_between_ = step.is_end;
            if (step.made > 0) {
                return step.made;
            }
        }
    }

  protected:
    /// How many bytes were taken and made, and whether that was a piece's end.
    struct Step {
        size_t taken;
        size_t made;
        bool is_end;
    };

    InPieces(Input& input, const char* format) : input_{input}, format_{format} {}
    virtual Step unpack(std::span<const std::byte> packed, std::span<std::byte> room) = 0;
    [[noreturn]] void fail_broken(const std::string& how) const {
        fail(std::string{"it is broken ("} + format_ + how + ")");
    }

  private:
    Input& input_;
    const char* format_;
    bool is_between_ = false;  // two pieces
};

class Gzip final : public InPieces {
  public:
    static constexpr std::string_view kMark{"\x1f\x8b"};

    explicit Gzip(Input& input) : InPieces{input, "gzip"} {
        if (inflateInit2(&stream_, MAX_WBITS + kGzipOnly) != Z_OK) {
            fail("there is no memory for it");
        }
    }
    Gzip(const Gzip&) = delete;
    Gzip& operator=(const Gzip&) = delete;
    ~Gzip() override { inflateEnd(&stream_); }

  private:
    static constexpr int kGzipOnly = 16;  // zlib.h, inflateInit2

    Step unpack(std::span<const std::byte> packed, std::span<std::byte> room) override {
        const auto most = static_cast<uInt>(std::min<size_t>(room.size(), UINT32_MAX));
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
        stream_.avail_in = static_cast<uInt>(packed.size());
        stream_.next_out = reinterpret_cast<Bytef*>(room.data());
        stream_.avail_out = most;
        const int result = inflate(&stream_, Z_NO_FLUSH);
        if (result != Z_STREAM_END && result != Z_OK && result != Z_BUF_ERROR) {
            fail_broken("");
        }
        const Step step{packed.size() - stream_.avail_in, most - stream_.avail_out, result == Z_STREAM_END};
        if (step.is_end) {
            inflateReset(&stream_);
        }
        return step;
    }

    z_stream stream_{};
};

class Zstandard final : public InPieces {
  public:
    static constexpr std::string_view kMark{"\x28\xb5\x2f\xfd"};

    explicit Zstandard(Input& input) : InPieces{input, "Zstandard"} {
        if (!stream_) {
            fail("there is no memory for it");
        }
    }

  private:
    struct Free {
        void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
    };

    Step unpack(std::span<const std::byte> packed, std::span<std::byte> room) override {
        ZSTD_inBuffer in{packed.data(), packed.size(), 0};
        ZSTD_outBuffer out{room.data(), room.size(), 0};
        const size_t result = ZSTD_decompressStream(stream_.get(), &out, &in);
        if (ZSTD_isError(result) != 0) {
            fail_broken(std::string{": "} + ZSTD_getErrorName(result));
        }
        return {in.pos, out.pos, result == 0};
    }

    std::unique_ptr<ZSTD_DStream, Free> stream_{ZSTD_createDStream()};
};

/// Input and unpacker together: one is made of the other.
struct Unpacking {
    explicit Unpacking(ByteSource source) : input{std::move(source)} {
        if (input.begins_with(Gzip::kMark)) {
            unpacker = std::make_unique<Gzip>(input);
        } else if (input.begins_with(Zstandard::kMark)) {
            unpacker = std::make_unique<Zstandard>(input);
        } else if (input.begins_with(kXzMark) || input.begins_with(kBzip2Mark)) {
            fail("it is packed by xz or bzip2, and only gzip and Zstandard are known");
        } else {
            unpacker = std::make_unique<Plain>(input);
            is_packed = false;
        }
    }
    Unpacking(const Unpacking&) = delete;
    Unpacking& operator=(const Unpacking&) = delete;
    ~Unpacking() = default;

    Input input;
    std::unique_ptr<Unpacker> unpacker{};
    bool is_packed = true;
};

}  // namespace

ByteSource unpack(ByteSource packed, uint64_t most_bytes, bool* is_packed) {
    // Shared, since a std::function can be copied; made at the first read, since that waits for bytes.
    return [packed = std::move(packed), most_bytes, left = most_bytes, is_packed,
            unpacking = std::shared_ptr<Unpacking>{}](std::span<std::byte> room) mutable -> size_t {
        if (!unpacking) {
            unpacking = std::make_shared<Unpacking>(std::move(packed));
            if (is_packed != nullptr) {
                *is_packed = unpacking->is_packed;
            }
        }
        const size_t got = unpacking->unpacker->read(room);
        if (got > left) {
            fail("it holds more than " + std::to_string(most_bytes >> 20) + " MiB");
        }
        left -= got;
        return got;
    };
}

}  // namespace hull::container
