#include "container/api/registry_login.h"

#include <openssl/evp.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "container/api/base64.h"
#include "container/api/request_target.h"
#include "container/image/json.h"
#include "container/image/reference.h"

namespace hull::container {

namespace {

constexpr size_t kMostHeader = 64 << 10;
constexpr size_t kGroup = 4;  // characters that make three bytes

/// Nothing but an empty text where it is not base64 (RFC 4648, 4 and 5).
std::string decode(std::string text) {
    std::ranges::replace(text, '-', '+');
    std::ranges::replace(text, '_', '/');
    text.erase(text.find_last_not_of('=') + 1);
    const size_t size = text.size() * 3 / kGroup;
    text.resize((text.size() + kGroup - 1) / kGroup * kGroup, '=');
    std::vector<unsigned char> bytes(text.size());
    const int got = EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()));
    return got < 0 ? "" : std::string{bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size)};
}

/// Empty where there is no name.
std::string credentials_of(const JsonObject& known) {
    for (const char* token : {"identitytoken", "registrytoken"}) {
        if (!known.text(token).empty()) {
            known.refuse(std::string{"it has a token ("} + token +
                         "), and only names with passwords can be used");
        }
    }
    const std::string name = known.text("username");
    if (name.find(':') != std::string::npos) {
        known.refuse("there is a colon in the name");
    }
    return name.empty() ? "" : base64(name + ":" + known.text("password"));
}

/// Throws Error (usage) where it is none.
std::string domain_of(std::string address) {
    // "https://index.docker.io/v1/" is what clients have for the hub.
    for (const std::string_view scheme : {"https://", "http://"}) {
        if (address.starts_with(scheme)) {
            address.erase(0, scheme.size());
        }
    }
    address.resize(std::min(address.find('/'), address.size()));
    if (address.empty() || address == "registry-1.docker.io") {
        address = kHub;
    }
    return Reference::parse(address + "/any").domain;
}

}  // namespace

std::string parse_registry_logins(std::string_view header, const std::string& domain) {
    if (header.empty()) {
        return "";
    }
    const std::string tried = "cannot use the header X-Registry-Config";
    const std::string text = header.size() > kMostHeader ? "" : decode(std::string{header});
    try {
        const boost::json::object whole = parse_json_object(text, tried);
        const JsonObject all{whole, tried};
        for (const std::string& address : all.keys()) {
            if (domain_of(address) == domain) {
                return credentials_of(all.object(address));
            }
        }
        return "";
    } catch (const Error& error) {
        throw ApiError{400, error.what()};
    }
}

std::string parse_registry_login(std::string_view header) {
    if (header.empty()) {
        return "";
    }
    const std::string tried = "cannot use the header X-Registry-Auth";
    const std::string text = header.size() > kMostHeader ? "" : decode(std::string{header});
    try {
        const boost::json::object whole = parse_json_object(text, tried);
        return credentials_of(JsonObject{whole, tried});
    } catch (const Error& error) {
        throw ApiError{400, error.what()};
    }
}

RegistryLogin parse_login_body(const boost::json::value& body) {
    const std::string tried = "cannot log in";
    if (!body.is_object()) {
        throw ApiError{400, tried + ": the request's body is no JSON object"};
    }
    try {
        const JsonObject known{body.get_object(), tried};
        RegistryLogin login{.domain = "", .credentials = credentials_of(known)};
        if (login.credentials.empty()) {
            known.refuse("there is no name (username)");
        }
        login.domain = domain_of(known.text("serveraddress"));
        return login;
    } catch (const Error& error) {
        throw ApiError{400, error.what()};
    }
}

}  // namespace hull::container
