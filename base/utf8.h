// Text of others as UTF-8.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace hull {

/// How many bytes the first character of `text`, which is not empty, has; 0 where it is no UTF-8 (RFC 3629).
inline size_t utf8_character_size(std::string_view text) {
    const auto byte = [&](size_t index) { return static_cast<unsigned char>(text[index]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        return 1;
    }
    const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < size) {
        return 0;
    }
    // Not longer than it need be, no surrogate, and not above the last character.
    const unsigned char lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned char highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (byte(1) < lowest || byte(1) > highest) {
        return 0;
    }
    const auto is_continuation = [](char each) { return (static_cast<unsigned char>(each) & 0xc0) == 0x80; };
    return std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(size), is_continuation)
               ? size
               : 0;
}

/// With U+FFFD for each byte that is of no character.
inline std::string valid_utf8(std::string_view text) {
    std::string valid;
    while (!text.empty()) {
        const size_t size = utf8_character_size(text);
        valid += size == 0 ? std::string_view{"\xef\xbf\xbd"} : text.substr(0, size);
        text.remove_prefix(std::max<size_t>(size, 1));
    }
    return valid;
}

}  // namespace hull
