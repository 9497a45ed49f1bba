#include "container/api/request_target.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace hull::container {

namespace {

[[noreturn]] void refuse(const std::string& message) {
    throw ApiError{400, message};
}

std::optional<unsigned> digit(char character) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(&character, &character + 1, value, 16);
    return error == std::errc{} ? std::optional{value} : std::nullopt;
}

/// RFC 3986, 2.1; in a query "+" is a space, as in forms.
std::string decode(std::string_view text, bool is_query) {
    std::string plain;
    for (size_t at = 0; at < text.size(); ++at) {
        char character = text[at];
        if (character == '%') {
            const auto high = at + 2 < text.size() ? digit(text[at + 1]) : std::nullopt;
            const auto low = high ? digit(text[at + 2]) : std::nullopt;
            if (!low) {
                refuse("the request's address has a malformed escape");
            }
            character = static_cast<char>(*high << 4 | *low);
            at += 2;
        } else if (character == '+' && is_query) {
            character = ' ';
        }
        if (character == '\0') {
            refuse("the request's address has a NUL in it");
        }
        plain += character;
    }
    return plain;
}

void parse_query(std::string_view text, std::multimap<std::string, std::string>& query) {
    while (!text.empty()) {
        const std::string_view part = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(text.size(), part.size() + 1));
        const size_t sign = part.find('=');
        if (!part.empty()) {
            query.emplace(decode(part.substr(0, sign), true),
                          sign == std::string_view::npos ? "" : decode(part.substr(sign + 1), true));
        }
    }
}

/// Takes "/v1.N" off the front; without it: the newest.
unsigned take_version(std::string& path) {
    unsigned major = 0;
    unsigned minor = 0;
    const char* const last = path.data() + path.size();
    if (!path.starts_with("/v")) {
        return kApiVersion;
    }
    const auto dot = std::from_chars(path.data() + 2, last, major);
    if (dot.ec != std::errc{} || dot.ptr == last || *dot.ptr != '.') {
        return kApiVersion;  // it is something else that begins with a v
    }
    const auto end = std::from_chars(dot.ptr + 1, last, minor);
    if (end.ec != std::errc{} || end.ptr == last || *end.ptr != '/') {
        return kApiVersion;
    }
    const std::string version = path.substr(2, static_cast<size_t>(end.ptr - path.data()) - 2);
    if (major > 1 || minor > kApiVersion) {
        refuse("client version " + version + " is too new. Maximum supported API version is 1." +
               std::to_string(kApiVersion));
    }
    if (major < 1 || minor < kLeastApiVersion) {
        refuse("client version " + version + " is too old. Minimum supported API version is 1." +
               std::to_string(kLeastApiVersion) + ", please upgrade your client to a newer version");
    }
    path.erase(0, static_cast<size_t>(end.ptr - path.data()));
    return minor;
}

}  // namespace

RequestTarget RequestTarget::parse(std::string_view text) {
    RequestTarget target;
    const size_t mark = text.find('?');
    target.path = decode(text.substr(0, mark), false);
    if (!target.path.starts_with('/')) {
        refuse("the request's address does not begin with a slash");
    }
    if (mark != std::string_view::npos) {
        parse_query(text.substr(mark + 1), target.query);
    }
    target.version = take_version(target.path);
    return target;
}

std::optional<std::string> RequestTarget::find(const std::string& name) const {
    const auto [first, end] = query.equal_range(name);
    return first == end ? std::nullopt : std::optional{first->second};
}

std::vector<std::string> RequestTarget::find_all(const std::string& name) const {
    std::vector<std::string> all;
    for (auto [each, end] = query.equal_range(name); each != end; ++each) {
        all.push_back(each->second);
    }
    return all;
}

bool RequestTarget::is_set(const std::string& name) const {
    std::string value = find(name).value_or("");
    std::ranges::transform(value, value.begin(), [](unsigned char each) { return std::tolower(each); });
    constexpr std::array<std::string_view, 5> kFalse{"", "0", "no", "false", "none"};
    return std::ranges::find(kFalse, value) == kFalse.end();
}

std::optional<std::string> RequestTarget::between(std::string_view begin, std::string_view end) const {
    if (path.size() <= begin.size() + end.size() || !path.starts_with(begin) || !path.ends_with(end)) {
        return {};
    }
    return path.substr(begin.size(), path.size() - begin.size() - end.size());
}

}  // namespace hull::container
