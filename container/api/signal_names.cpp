#include "container/api/signal_names.h"

#include <signal.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <string>

namespace hull::container {

namespace {

// As Linux has them; the C library keeps the first real-time ones for itself, and its SIGRTMIN is another.
constexpr int kFirstRealTime = 34;
constexpr int kLast = 64;

/// Digits, and nothing else.
std::optional<int> number(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_number = error == std::errc{} && end == text.data() + text.size() && text.front() != '-';
    return is_number ? std::optional{value} : std::nullopt;
}

std::optional<int> in_range(std::optional<int> value, int least) {
    return value && *value >= least && *value <= kLast ? value : std::nullopt;
}

}  // namespace

std::optional<int> signal_number(std::string_view text) {
    if (text.empty()) {
        return std::nullopt;
    }
    if (const auto value = number(text)) {
        return in_range(value, 1);
    }
    std::string name{text};
    std::ranges::transform(name, name.begin(), [](unsigned char each) { return std::toupper(each); });
    if (name.starts_with("SIG")) {
        name.erase(0, 3);
    }
    if (name == "RTMIN" || name == "RTMAX") {
        return name == "RTMIN" ? kFirstRealTime : kLast;
    }
    if (name.starts_with("RTMIN+") || name.starts_with("RTMAX-")) {
        const auto distance = number(std::string_view{name}.substr(6));
        if (!distance || *distance > kLast) {
            return std::nullopt;
        }
        return in_range(name[5] == '+' ? kFirstRealTime + *distance : kLast - *distance, kFirstRealTime);
    }
    for (int each = 1; each < kFirstRealTime; ++each) {
        const char* const known = sigabbrev_np(each);
        if (known != nullptr && name == known) {
            return each;
        }
    }
    // Older words for the same.
    if (name == "CLD") {
        return SIGCHLD;
    }
    return name == "IOT" ? std::optional{SIGABRT} : std::nullopt;
}

}  // namespace hull::container
