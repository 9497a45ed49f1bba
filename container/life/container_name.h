// What containers are called.
#pragma once

#include <string>
#include <string_view>

namespace hull::container {

/// 64 hexadecimal digits by chance, as Docker's ids are. Throws Error (internal_failure).
std::string make_id();
/// The first twelve of them, by which people and files call what has such an id.
std::string short_id(const std::string& id);

/// Two words by chance ("steady_pilot"), which can be said on the telephone; with a number behind them where
/// `tries` is above 0. Throws Error (internal_failure).
std::string make_name(unsigned tries);

/// Whether a container can be called so: Docker's rule, [a-zA-Z0-9][a-zA-Z0-9_.-]+.
bool is_name(std::string_view text);

}  // namespace hull::container
