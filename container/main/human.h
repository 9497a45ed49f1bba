// Sizes and times as docker's client writes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace hull::container {

/// "133MB": three digits, and units of powers of 1000.
std::string human_size(uint64_t bytes);

/// "2 weeks", of a time that is not negative.
std::string human_duration(std::chrono::seconds time);

/// "2 weeks ago", of a time of RFC 3339; "N/A" where it is none.
std::string human_age(const std::string& time, std::chrono::system_clock::time_point now);

}  // namespace hull::container
