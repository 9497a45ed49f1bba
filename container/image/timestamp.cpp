#include "container/image/timestamp.h"

#include <cstdint>
#include <cstdio>
#include <ctime>

namespace hull::container {

namespace {

/// `number` / `unit`, which is a power of ten, with as many digits behind the point as there are.
std::string decimal_text(uint64_t number, uint64_t unit) {
    std::string text = std::to_string(number / unit);
    if (number % unit != 0) {
        const std::string digits = std::to_string(unit + number % unit);  // a one, and all zeros
        text += "." + digits.substr(1, digits.find_last_not_of('0'));
    }
    return text;
}

}  // namespace

std::optional<std::chrono::seconds> parse_time(const std::string& text) {
    std::tm parts{};
    const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == nullptr) {
        return std::nullopt;
    }
    std::chrono::seconds since{timegm(&parts)};
    while (*rest == '.' || (*rest >= '0' && *rest <= '9')) {
        ++rest;
    }
    int hours = 0;
    int minutes = 0;
    if ((*rest == '+' || *rest == '-') && std::sscanf(rest + 1, "%2d:%2d", &hours, &minutes) == 2) {
        const std::chrono::seconds offset = std::chrono::hours{hours} + std::chrono::minutes{minutes};
        since -= *rest == '+' ? offset : -offset;
    }
    return since;
}

std::string duration_text(std::chrono::nanoseconds time) {
    const bool is_negative = time.count() < 0;
    uint64_t rest = is_negative ? -static_cast<uint64_t>(time.count()) : static_cast<uint64_t>(time.count());
    constexpr uint64_t kMicro = 1000;
    constexpr uint64_t kMilli = 1'000'000;
    constexpr uint64_t kSecond = 1'000'000'000;
    constexpr uint64_t kMinute = 60 * kSecond;
    constexpr uint64_t kHour = 60 * kMinute;
    std::string text = is_negative ? "-" : "";
    if (rest >= kMinute) {
        text += rest >= kHour ? std::to_string(rest / kHour) + "h" : "";
        text += std::to_string(rest % kHour / kMinute) + "m";
        rest %= kMinute;
    } else if (rest == 0) {
        return "0s";
    } else if (rest < kSecond) {
        const uint64_t unit = rest < kMicro ? 1 : rest < kMilli ? kMicro : kMilli;
        return text + decimal_text(rest, unit) + (unit == 1 ? "ns" : unit == kMicro ? "\u00b5s" : "ms");
    }
    return text + decimal_text(rest, kSecond) + "s";
}

}  // namespace hull::container
