// When something was made, and how long something takes.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace hull::container {

/// Of a time of RFC 3339 ("2024-01-02T03:04:05.6+01:00") the whole seconds since 1970 in UTC; none where it
/// is no such time. One without an offset is in UTC. Any thread.
std::optional<std::chrono::seconds> parse_time(const std::string& text);

/// As Go prints a Duration: "1m30s", "1.5s", "100ms", "0s".
std::string duration_text(std::chrono::nanoseconds time);

}  // namespace hull::container
