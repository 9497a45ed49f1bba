#include "container/image/timestamp.h"

#include <cstdio>
#include <ctime>

namespace hull::container {

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

}  // namespace hull::container
