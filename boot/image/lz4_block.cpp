#include "boot/image/lz4_block.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace hull::boot {

namespace {

// A block is a row of sequences: a token, of which one half is the number of literals and the other the
// length of the match less 4, either of them continued in further bytes if it is 15; the literals; the offset
// back to the match, in two bytes. The last sequence ends after its literals.

using Byte = uint8_t;

constexpr size_t kContinued = 15;
constexpr size_t kLeastMatch = 4;
// An offset reaches back this far at most; so after as many bytes of output none can reach before the start.
constexpr ptrdiff_t kReach = 0xffff;
// So far from the ends of both buffers whole registers may be read and written, beyond what a sequence holds.
constexpr ptrdiff_t kInputMargin = 64;
constexpr ptrdiff_t kOutputMargin = 128;

struct Cursor {
    const Byte* in;
    Byte* out;
};

template <size_t size>
void copy(Byte* to, const Byte* from) {
    std::memcpy(to, from, size);
}

size_t offset_at(const Byte* in) {
    return static_cast<size_t>(in[0] | in[1] << 8);
}

/// Adds the bytes that continue a length; false at the end of the input. A match's may begin beyond `end`,
/// where that is only the margin before it.
bool add_continuation(const Byte*& in, const Byte* end, size_t& length) {
    Byte more = 0;
    do {
        if (in >= end) {
            return false;
        }
        more = *in++;
        length += more;
    } while (more == 255);
    return true;
}

/// Copies up to `end` and at most 31 bytes beyond, from at least 16 bytes back or from elsewhere.
void copy_far(Byte* to, const Byte* from, const Byte* end) {
    do {
        copy<16>(to, from);
        copy<16>(to + 16, from + 16);
        to += 32;
        from += 32;
    } while (to < end);
}

/// Repeats the last `offset` (1 to 15) bytes before `to` up to `end` and at most 31 bytes beyond.
void copy_near(Byte* to, size_t offset, const Byte* end) {
    // A multiple of the offset: from so far back eight bytes can be copied at once.
    static constexpr Byte kAtLeastEight[] = {0, 8, 8, 9, 8, 10, 12, 14};
    // A multiple of the offset: after so many bytes the same sixteen come again.
    static constexpr Byte kAtMostSixteen[] = {0, 16, 16, 15, 16, 15, 12, 14, 16, 9, 10, 11, 12, 13, 14, 15};
    if (offset < 8) {
        for (size_t index = 0; index < 8; ++index) {
            to[index] = (to - offset)[index];
        }
        copy<8>(to + 8, to + 8 - kAtLeastEight[offset]);
    } else {
        copy<8>(to, to - offset);
        copy<8>(to + 8, to + 8 - offset);
    }
    if (to + 16 < end) {
        Byte pattern[16];
        copy<16>(pattern, to);
        do {
            to += kAtMostSixteen[offset];
            copy<16>(to, pattern);
        } while (to < end);
    }
}

/// Unpacks sequences as long as they stay clear of the margins, and leaves the cursor before the first that
/// does not or that is corrupted. With `beyond_reach` kReach bytes or more have been written.
template <bool beyond_reach>
Cursor unpack_quickly(Cursor cursor, const Byte* in_limit, const Byte* start, const Byte* out_limit) {
    auto [in, out] = cursor;
    while (in < in_limit && out < out_limit) {
        // Nineteen of twenty sequences are short: no length is continued and the match is not close. Such a
        // one takes at most 17 bytes and makes at most 32, so this many keep clear of the limits without a
        // look.
        for (ptrdiff_t left = std::min(in_limit - in, out_limit - out) / 32; left > 0; --left) {
            const size_t token = *in;
            const size_t length = token & 15;
            const size_t literals = token >> 4;
            if (token >= kContinued << 4) [[unlikely]] {
                break;
            }
            if (length == kContinued) [[unlikely]] {
                break;
            }
            copy<16>(out, in + 1);
            const size_t offset = offset_at(in + literals + 1);
            if (offset < 8) [[unlikely]] {
                break;
            }
            if (!beyond_reach && offset > static_cast<size_t>(out + literals - start)) {
                break;
            }
            out += literals;
            const Byte* const from = out - offset;
            copy<8>(out, from);
            copy<8>(out + 8, from + 8);
            copy<2>(out + 16, from + 16);
            in += literals + 3;
            out += length + kLeastMatch;
        }
        const unsigned token = *in;
        size_t literals = token >> 4;
        size_t length = token & 15;
        const Byte* next = in + 1;
        if (literals != kContinued) [[likely]] {
            copy<16>(out, next);
        } else {
            if (!add_continuation(next, in_limit, literals) ||
                literals >= static_cast<size_t>(in_limit - next) ||
                literals >= static_cast<size_t>(out_limit - out)) {
                break;
            }
            copy_far(out, next, out + literals);
        }
        next += literals;
        Byte* const to = out + literals;
        const size_t offset = offset_at(next);
        next += 2;
        if (!beyond_reach && offset > static_cast<size_t>(to - start)) {
            break;
        }
        const Byte* const from = to - offset;
        if (length != kContinued) [[likely]] {
            // At most 18 bytes.
            if (offset >= 8) [[likely]] {
                copy<8>(to, from);
                copy<8>(to + 8, from + 8);
                copy<2>(to + 16, from + 16);
            } else if (offset > 0) {
                copy_near(to, offset, to + length + kLeastMatch);
            } else {
                break;
            }
        } else {
            if (!add_continuation(next, in_limit, length) ||
                out_limit - to < static_cast<ptrdiff_t>(length + kLeastMatch)) {
                break;
            }
            if (offset >= 16) {
                copy_far(to, from, to + length + kLeastMatch);
            } else if (offset > 0) {
                copy_near(to, offset, to + length + kLeastMatch);
            } else {
                break;
            }
        }
        in = next;
        out = to + length + kLeastMatch;
    }
    return {in, out};
}

/// Copies a match of any length to `out`; the whole of it fits.
void copy_match(Byte* out, size_t offset, size_t length, Byte* out_end) {
    const Byte* const end = out + length;
    // Most of a long one, such as the zeros at a kernel's end, by whole registers.
    if (out_end - out > kOutputMargin) {
        Byte* const safe_end = std::min(out + length, out_end - kOutputMargin / 2);
        if (offset >= 16) {
            copy_far(out, out - offset, safe_end);
        } else {
            copy_near(out, offset, safe_end);
        }
        out = safe_end;
    }
    for (const Byte* from = out - offset; out < end;) {
        *out++ = *from++;
    }
}

}  // namespace

std::optional<size_t> unpack_lz4_block(std::span<const std::byte> packed, std::span<std::byte> target,
                                       Lz4Overflow overflow) {
    const auto* in = reinterpret_cast<const Byte*>(packed.data());
    const Byte* const in_end = in + packed.size();
    auto* out = reinterpret_cast<Byte*>(target.data());
    Byte* const start = out;
    Byte* const out_end = out + target.size();
    while (in != in_end) {
        if (in_end - in > kInputMargin && out_end - out > kOutputMargin) {
            const Byte* const in_limit = in_end - kInputMargin;
            const Byte* const out_limit = out_end - kOutputMargin;
            const Cursor cursor =
                out - start >= kReach
                    ? unpack_quickly<true>({in, out}, in_limit, start, out_limit)
                    : unpack_quickly<false>({in, out}, in_limit, start,
                                            std::min<const Byte*>(out_limit, start + kReach));
            in = cursor.in;
            out = cursor.out;
        }
        const unsigned token = *in++;
        size_t literals = token >> 4;
        size_t length = token & 15;
        if (literals == kContinued && !add_continuation(in, in_end, literals)) {
            return std::nullopt;
        }
        const auto room_for_literals = static_cast<size_t>(out_end - out);
        if (literals > static_cast<size_t>(in_end - in) ||
            (literals > room_for_literals && overflow == Lz4Overflow::error)) {
            return std::nullopt;
        }
        const size_t kept = std::min(literals, room_for_literals);
        std::copy_n(in, kept, out);
        in += literals;
        out += kept;
        if (in == in_end || kept < literals) {
            return out - start;
        }
        if (in_end - in < 2) {
            return std::nullopt;
        }
        const size_t offset = offset_at(in);
        in += 2;
        if (length == kContinued && !add_continuation(in, in_end, length)) {
            return std::nullopt;
        }
        length += kLeastMatch;
        const auto room = static_cast<size_t>(out_end - out);
        if (offset == 0 || offset > static_cast<size_t>(out - start) ||
            (length > room && overflow == Lz4Overflow::error)) {
            return std::nullopt;
        }
        copy_match(out, offset, std::min(length, room), out_end);
        if (length > room) {
            return target.size();
        }
        out += length;
    }
    return std::nullopt;  // the last sequence has literals only
}

}  // namespace hull::boot
