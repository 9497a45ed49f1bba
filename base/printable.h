// Bytes and texts of others in messages.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace hull {

/// What somebody else wrote, fit for a line of an Error: of at most so many bytes, and with '?' for what a
/// terminal would not take for a character (of UTF-8, too).
inline std::string printable(std::string_view text, size_t most = 300) {
    std::string result{text.substr(0, most)};
    std::ranges::replace_if(
        result, [](char c) { return c < ' ' || c > '~'; }, '?');
    return result;
}

/// Two digits a byte, of a to f in small letters.
inline std::string hexadecimal(std::string_view bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const char byte : bytes) {
        text += {kDigits[static_cast<unsigned char>(byte) >> 4U],
                 kDigits[static_cast<unsigned char>(byte) & 15U]};
    }
    return text;
}

}  // namespace hull
