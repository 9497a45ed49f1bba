// LZ4's blocks, against a decoder that takes byte by byte: both must refuse the same and make the same bytes.
// Input: the room (3 bytes, of which up to 256 KiB count), the block.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "boot/image/lz4_block.h"

using hull::boot::Lz4Overflow;

namespace {

/// The LZ4 block format word for word, without a thought for speed.
std::optional<std::vector<std::byte>> unpack_slowly(std::span<const std::byte> in, size_t room) {
    std::vector<std::byte> out;
    size_t at = 0;
    const auto next = [&]() -> std::optional<size_t> {
        return at < in.size() ? std::optional{std::to_integer<size_t>(in[at++])} : std::nullopt;
    };
    const auto length = [&](size_t half) -> std::optional<size_t> {
        for (size_t more = half == 15 ? 255 : 0; more == 255; half += more) {
            const auto byte = next();
            if (!byte) {
                return std::nullopt;
            }
            more = *byte;
        }
        return half;
    };
    while (const auto token = next()) {
        const auto literals = length(*token >> 4);
        if (!literals || *literals > in.size() - at || *literals > room - out.size()) {
            return std::nullopt;
        }
        out.insert(out.end(), in.begin() + static_cast<ptrdiff_t>(at),
                   in.begin() + static_cast<ptrdiff_t>(at + *literals));
        at += *literals;
        if (at == in.size()) {
            return out;
        }
        const auto low = next();
        const auto high = next();
        const auto match = length(*token & 15);
        if (!high || !match) {
            return std::nullopt;
        }
        const size_t offset = *low | *high << 8;
        if (offset == 0 || offset > out.size() || *match + 4 > room - out.size()) {
            return std::nullopt;
        }
        for (size_t count = *match + 4; count > 0; --count) {
            out.push_back(out[out.size() - offset]);
        }
    }
    return std::nullopt;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 3) {
        return 0;
    }
    const size_t room = (data[0] | data[1] << 8 | data[2] << 16) % ((size_t{256} << 10) + 1);
    // On the heap and of exact size, so that the sanitizer sees a byte too many.
    std::vector<std::byte> target(room);
    const std::vector<uint8_t> packed(data + 3, data + size);
    const auto block = std::as_bytes(std::span{packed});
    const auto made = unpack_lz4_block(block, target, Lz4Overflow::error);
    const auto expected = unpack_slowly(block, room);
    if (made.has_value() != expected.has_value() ||
        (made &&
         (*made != expected->size() || !std::equal(expected->begin(), expected->end(), target.begin())))) {
        std::abort();
    }
    if (expected) {
        std::vector<std::byte> start(expected->size() / 2);
        if (unpack_lz4_block(block, start, Lz4Overflow::stop) != start.size() ||
            !std::equal(start.begin(), start.end(), expected->begin())) {
            std::abort();
        }
    }
    return 0;
}
