// Texts of others in messages.
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

}  // namespace hull
