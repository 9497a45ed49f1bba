// Values out of an image's bytes, whatever their alignment.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

namespace hull::boot {

static_assert(std::endian::native == std::endian::little, "images are read as they are");

/// Copies a T from `offset` bytes into `bytes`; nothing where it would reach past their end.
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::optional<T> read_at(std::span<const std::byte> bytes, uint64_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
        return std::nullopt;
    }
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

/// The part of `bytes` at [offset, offset + size); nothing where it would reach past their end.
[[nodiscard]] inline std::optional<std::span<const std::byte>> part_of(std::span<const std::byte> bytes,
                                                                       uint64_t offset, uint64_t size) {
    if (offset > bytes.size() || bytes.size() - offset < size) {
        return std::nullopt;
    }
    return bytes.subspan(offset, size);
}

/// "0x1f" and the like, for messages.
[[nodiscard]] inline std::string hex(uint64_t value) {
    std::string digits;
    do {
        digits.insert(digits.begin(), "0123456789abcdef"[value % 16]);
        value /= 16;
    } while (value != 0);
    return "0x" + digits;
}

}  // namespace hull::boot
