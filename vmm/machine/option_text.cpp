#include "vmm/machine/option_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"

namespace hull {

void refuse_option(const std::string& option, const std::string& text, const std::string& why,
                   const std::string& advice) {
    throw Error{ExitStatus::usage, "cannot use " + option + " '" + text + "'", why, advice};
}

std::vector<OptionWord> split_words(const std::string& text) {
    std::vector<OptionWord> words(1);
    for (size_t at = 0; at < text.size(); ++at) {
        if (text[at] != ',') {
            words.back().text += text[at];
        } else if (text.compare(at, 2, ",,") == 0) {
            words.back().text += text[at++];
        } else {
            words.emplace_back();
        }
    }
    for (OptionWord& word : words) {
        const size_t equals = word.text.find('=');
        word.key = word.text.substr(0, equals);
        if (equals != std::string::npos) {
            word.value = word.text.substr(equals + 1);
        }
    }
    return words;
}

std::string double_commas(std::string text) {
    for (size_t at = text.find(','); at != std::string::npos; at = text.find(',', at + 2)) {
        text.insert(at, ",");
    }
    return text;
}

void refuse_repeats(const std::string& option, const std::string& text, const std::vector<OptionWord>& words,
                    const std::string& repeatable) {
    std::set<std::string> given;
    for (const OptionWord& word : words) {
        if (word.key != repeatable && !given.insert(word.key).second) {
            refuse_option(option, text, "'" + word.key + "' comes twice", "give it once");
        }
    }
}

uint64_t parse_memory_size(const std::string& text, const std::string& option) {
    uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    std::string unit{rest, end};
    std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    });
    for (const std::string ending : {"IB", "B"}) {
        if (unit.size() > ending.size() && unit.ends_with(ending)) {
            unit.resize(unit.size() - ending.size());
        }
    }
    const std::string units = "KMG";
    const size_t place = unit.empty()       ? units.find('M')
                         : unit.size() == 1 ? units.find(unit)
                                            : std::string::npos;
    if (error != std::errc{} || place == std::string::npos) {
        refuse_option(option, text, "it is not a size", "write for example 512M or 2G");
    }
    const uint64_t factor = uint64_t{1024} << (10 * place);
    if (number > std::numeric_limits<uint64_t>::max() / factor) {
        refuse_option(option, text, "it is more than a processor can address", "give less");
    }
    return number * factor;
}

uint64_t parse_bytes_per_second(const std::string& text, const std::string& option) {
    const uint64_t bytes = parse_memory_size(text, option);
    if (bytes == 0) {
        refuse_option(option, text, "a limit of nothing would let nothing pass",
                      "give more, or leave it out");
    }
    return bytes;
}

std::string memory_size_text(uint64_t bytes) {
    constexpr uint64_t kMiB = uint64_t{1} << 20;
    constexpr uint64_t kGiB = uint64_t{1} << 30;
    return bytes % kGiB == 0 ? std::to_string(bytes / kGiB) + "G" : std::to_string(bytes / kMiB) + "M";
}

std::chrono::milliseconds parse_seconds(const std::string& text, const std::string& option) {
    constexpr double kDay = 24 * 60 * 60;
    double seconds = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, seconds);
    if (error != std::errc{} || rest != end || !(seconds >= 0 && seconds <= kDay)) {
        refuse_option(option, text, "it is not a number of seconds from 0 to 86400",
                      "write for example 10 or 0.5");
    }
    return std::chrono::milliseconds{std::llround(seconds * 1000)};
}

uint32_t parse_number(const std::string& text, const std::string& option, uint32_t least, uint32_t most) {
    uint32_t number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{} || rest != end || number < least || number > most) {
        const std::string range = std::to_string(least) + " to " + std::to_string(most);
        refuse_option(option, text, "it is not a whole number from " + range, "give one");
    }
    return number;
}

}  // namespace hull
