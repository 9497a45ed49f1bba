// Signals as clients name them.
#pragma once

#include <optional>
#include <string_view>

namespace hull::container {

/// The number of "TERM", "SIGTERM", "15" or "RTMIN+3", in any case; none where it is no signal of Linux's.
/// Any thread.
std::optional<int> signal_number(std::string_view text);

}  // namespace hull::container
