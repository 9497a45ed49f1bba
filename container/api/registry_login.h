// Who a client is to a registry.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

namespace hull::container {

/// Of the header X-Registry-Auth (Engine API, "Authentication": JSON in base64, of either alphabet), name and
/// password as basic authentication takes them (RFC 7617: "NAME:PASSWORD" in base64); empty where it has
/// none. Throws ApiError (400) where it is malformed, or says who one is by a token.
std::string parse_registry_login(std::string_view header);

/// The same of the header X-Registry-Config, which has one for each registry, and of these for the one of a
/// domain.
std::string parse_registry_logins(std::string_view header, const std::string& domain);

struct RegistryLogin {
    std::string domain;       ///< "docker.io", "localhost:5000"
    std::string credentials;  ///< as above
};

/// Of a request to log in (Engine API, "SystemAuth"). Throws ApiError (400) as above, and where it names no
/// registry, or nobody.
RegistryLogin parse_login_body(const boost::json::value& body);

}  // namespace hull::container
