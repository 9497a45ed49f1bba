// One block of LZ4, unpacked. Hull has its own decoder for this one format: Debian's and Hull's kernels are
// packed by it, unpacking is the largest part of what Hull does before a guest's first instruction, and this
// takes a quarter fewer instructions than liblz4. boot/README.md tells what was measured.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace hull::boot {

/// What to do where a block holds more than there is room for.
enum class Lz4Overflow { error, stop };

/// Unpacks one block ("LZ4 Block Format Description") from `packed`, all of which it is, into `target`.
/// Answers how many bytes that made: with Lz4Overflow::stop at most `target.size()`, and what comes after
/// them is then not checked. Nothing where the block is corrupted or cut off, or, with Lz4Overflow::error,
/// holds more than `target`. Reads nothing outside `packed` and writes nothing outside `target`, whose bytes
/// after the answered ones are not defined. Any thread.
[[nodiscard]] std::optional<size_t> unpack_lz4_block(std::span<const std::byte> packed,
                                                     std::span<std::byte> target, Lz4Overflow overflow);

}  // namespace hull::boot
