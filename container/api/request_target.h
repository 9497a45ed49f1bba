// What a client asks of the daemon.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "container/api/api_error.h"

namespace hull::container {

/// The versions of the Engine API that are served, as their second number (1.N).
inline constexpr unsigned kLeastApiVersion = 24;
inline constexpr unsigned kApiVersion = 44;

/// What a request is aimed at: "/v1.44/images/json?all=1", the version being optional.
struct RequestTarget {
    unsigned version = kApiVersion;                 ///< 1.N
    std::string path;                               ///< "/images/json", decoded, without a NUL
    std::multimap<std::string, std::string> query;  ///< those of one name in their order

    /// Of a parameter: what it is (of several of one name the first), or nothing where it is not there.
    [[nodiscard]] std::optional<std::string> find(const std::string& name) const;
    [[nodiscard]] std::vector<std::string> find_all(const std::string& name) const;
    /// Docker's truth: everything but "", "0", "no", "false" and "none", in any case.
    [[nodiscard]] bool is_set(const std::string& name) const;
    /// What is between a beginning and an end of the path, as "nginx" in "/images/nginx/json"; nothing where
    /// it has not both, or there is nothing between.
    [[nodiscard]] std::optional<std::string> between(std::string_view begin, std::string_view end) const;

    /// Throws ApiError (400) where it is malformed (RFC 3986) or the version is not served.
    static RequestTarget parse(std::string_view text);
};

}  // namespace hull::container
