#include "container/main/human.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "container/image/timestamp.h"

namespace hull::container {

std::string human_size(uint64_t bytes) {
    constexpr std::array kUnits{"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    auto size = static_cast<double>(bytes);
    size_t unit = 0;
    while (size >= 1000 && unit + 1 < kUnits.size()) {
        size /= 1000;
        ++unit;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.3g%s", size, kUnits.at(unit));
    return text.data();
}

std::string human_duration(std::chrono::seconds time) {
    constexpr int64_t kDay = 24;  // hours
    constexpr int64_t kWeek = 7 * kDay;
    constexpr int64_t kMonth = 30 * kDay;
    constexpr int64_t kYear = 365 * kDay;
    const auto counted = [](int64_t count, const char* unit) { return std::to_string(count) + " " + unit; };
    const int64_t seconds = time.count();
    const int64_t minutes = seconds / 60;
    const int64_t hours = (minutes + 30) / 60;  // as docker rounds
    if (seconds < 1) {
        return "Less than a second";
    }
    if (seconds < 60) {
        return seconds == 1 ? "1 second" : counted(seconds, "seconds");
    }
    if (minutes < 60) {
        return minutes == 1 ? "About a minute" : counted(minutes, "minutes");
    }
    if (hours < 2 * kDay) {
        return hours == 1 ? "About an hour" : counted(hours, "hours");
    }
    if (hours < 2 * kWeek) {
        return counted(hours / kDay, "days");
    }
    if (hours < 2 * kMonth) {
        return counted(hours / kWeek, "weeks");
    }
    if (hours < 2 * kYear) {
        return counted(hours / kMonth, "months");
    }
    return counted(hours / kYear, "years");
}

std::string human_age(const std::string& time, std::chrono::system_clock::time_point now) {
    const auto since = parse_time(time);
    if (!since) {
        return "N/A";
    }
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()) - *since;
    return human_duration(std::max(age, std::chrono::seconds{0})) + " ago";
}

}  // namespace hull::container
