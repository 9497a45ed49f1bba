// The values of options as people write them: numbers, sizes, and lists of words.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hull {

/// One of the words of a value such as "FILE,readonly,id=NAME".
struct OptionWord {
    std::string text;                  ///< the whole word
    std::string key;                   ///< what stands before the first '='; all where there is none
    std::optional<std::string> value;  ///< what stands behind it
    [[nodiscard]] bool is_flag(const char* name) const { return key == name && !value; }
    [[nodiscard]] bool is_value(const char* name) const { return key == name && value; }
};

/// Throws Error (usage): `option` cannot be used with `text`, `why`, and what to do instead.
[[noreturn]] void refuse_option(const std::string& option, const std::string& text, const std::string& why,
                                const std::string& advice);

/// At least one word. Two commas stand for one within a word.
std::vector<OptionWord> split_words(const std::string& text);
/// The reverse, for one word.
std::string double_commas(std::string text);
/// Throws Error (usage) for a key that comes twice, unless it is `repeatable`.
void refuse_repeats(const std::string& option, const std::string& text, const std::vector<OptionWord>& words,
                    const std::string& repeatable = "");

/// A size of memory in bytes: digits with K, M or G behind them (KiB, MiB, GiB; upper or lower case, an "iB"
/// or "B" may follow), M where there is no unit. Throws Error (usage), naming `option`.
uint64_t parse_memory_size(const std::string& text, const std::string& option);
/// The same for a limit of so many bytes a second, of which nothing (0) is none.
uint64_t parse_bytes_per_second(const std::string& text, const std::string& option);
/// The reverse of parse_memory_size(): "512M", or "5G" where it is whole.
std::string memory_size_text(uint64_t bytes);

/// Seconds, with a fraction, 0 to a day. Throws Error (usage), naming `option`.
std::chrono::milliseconds parse_seconds(const std::string& text, const std::string& option);

/// A whole number from `least` to `most`. Throws Error (usage), naming `option`.
uint32_t parse_number(const std::string& text, const std::string& option, uint32_t least, uint32_t most);

}  // namespace hull
