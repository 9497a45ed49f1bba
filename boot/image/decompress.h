// The compressions in which Linux packs a kernel, undone on the host.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace hull::boot {

/// A compression that Hull has a library for. LZO is not among them: such a kernel unpacks itself.
enum class Compression { gzip, bzip2, lzma, xz, lz4, zstd };

/// What `packed` is compressed with, told by its first bytes; nothing where they are not known. LZ4 is the
/// legacy frame only, which is what `lz4 -l` writes and what Linux uses.
[[nodiscard]] std::optional<Compression> compression_of(std::span<const std::byte> packed);

/// The name of a compression, for messages.
[[nodiscard]] std::string_view name_of(Compression compression);

// Both functions below read one compressed stream from the start of `packed` and let bytes after its end be.
// What they allocate meanwhile is at most 256 MiB, mostly untouched, and goes back to the host when they
// return. They throw BadImage where the data is corrupted, cut off, or needs more than that. Any thread.

/// Unpacks the beginning only, until `target` is full or the stream ends, and returns how many bytes that
/// was. Of what comes later nothing is checked.
[[nodiscard]] size_t unpack_start(Compression compression, std::span<const std::byte> packed,
                                  std::span<std::byte> target);

/// Unpacks the whole stream into `target`, which it must fill exactly: BadImage where it holds less or more.
/// Writes nothing outside `target`; what is in it after an error is not defined. The checksums that a stream
/// carries are verified.
void unpack(Compression compression, std::span<const std::byte> packed, std::span<std::byte> target);

}  // namespace hull::boot
