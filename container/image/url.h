// Addresses that registries answer with.
#pragma once

#include <optional>
#include <string>

namespace hull::container {

/// What `location`, of an answer to a request for `base`, means there (RFC 3986, 5); none where that is no
/// address of http or https, has a user in it, or is without TLS where `base` has it. Any thread.
std::optional<std::string> resolve_url(const std::string& base, const std::string& location);

/// Whether two whole addresses have scheme, host and port in common (RFC 6454).
bool has_same_origin(const std::string& one, const std::string& other);

/// The address with "NAME=VALUE" at its query's end.
std::string with_parameter(const std::string& url, const std::string& parameter);

}  // namespace hull::container
