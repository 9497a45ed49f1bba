#include "container/image/reference.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/printable.h"

namespace hull::container {

namespace {

constexpr std::string_view kOfficial = "library/";
constexpr std::string_view kLocalhost = "localhost";
constexpr size_t kMostName = 255;  // characters of domain and path
constexpr size_t kMostTag = 128;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
bool is_letter_or_digit(char c) {
    return is_digit(c) || is_lower(c) || is_upper(c);
}

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
    throw Error{ExitStatus::usage, "cannot use the image's name '" + printable(text) + "'", why,
                "such a name is [HOST[:PORT]/]NAME[:TAG][@DIGEST]"};
}

/// Whether every part between these separators is good.
template <typename Good>
bool each_part(std::string_view text, char separator, Good good) {
    for (;;) {
        const size_t end = text.find(separator);
        if (!good(text.substr(0, end))) {
            return false;
        }
        if (end == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(end + 1);
    }
}

bool is_domain(std::string_view text) {
    if (const size_t colon = text.rfind(':'); colon != std::string_view::npos) {
        const std::string_view port = text.substr(colon + 1);
        if (port.empty() || !std::ranges::all_of(port, is_digit)) {
            return false;
        }
        text = text.substr(0, colon);
    }
    return each_part(text, '.', [](std::string_view part) {
        return !part.empty() && part.front() != '-' && part.back() != '-' &&
               std::ranges::all_of(part, [](char c) { return is_letter_or_digit(c) || c == '-'; });
    });
}

/// Small letters and digits, with one of '.', '_', '__' or any number of '-' between them.
bool is_path_part(std::string_view text) {
    const auto is_word = [](char c) { return is_lower(c) || is_digit(c); };
    if (text.empty() || !is_word(text.front()) || !is_word(text.back())) {
        return false;
    }
    for (auto at = text.begin(); at != text.end();) {
        at = std::find_if_not(at, text.end(), is_word);
        const auto next = std::find_if(at, text.end(), is_word);
        const std::string_view separator{at, next};
        if (!separator.empty() && separator != "." && separator != "_" && separator != "__" &&
            separator.find_first_not_of('-') != std::string_view::npos) {
            return false;
        }
        at = next;
    }
    return true;
}

bool is_tag(std::string_view text) {
    return !text.empty() && text.size() <= kMostTag && text.front() != '.' && text.front() != '-' &&
           std::ranges::all_of(
               text, [](char c) { return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-'; });
}

/// Whether a name's first part is a registry and not a folder of Docker's own.
bool names_a_registry(std::string_view part) {
    return part.find_first_of(".:") != std::string_view::npos || part == kLocalhost ||
           std::ranges::any_of(part, is_upper);
}

bool looks_like_an_id(std::string_view text) {
    constexpr size_t kIdDigits = 64;
    return text.size() == kIdDigits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

Reference Reference::parse(std::string_view text) {
    if (looks_like_an_id(text)) {
        refuse(text, "invalid repository name (" + std::string{text} +
                         "), cannot specify 64-byte hexadecimal strings");
    }
    std::string_view name = text;
    Reference result;
    if (const size_t at = name.find('@'); at != std::string_view::npos) {
        result.digest = Digest::parse(name.substr(at + 1));
        if (!result.digest) {
            refuse(text, "invalid reference format (a digest is sha256: and 64 digits)");
        }
        name = name.substr(0, at);
    }
    const size_t slash = name.find('/');
    if (slash != std::string_view::npos && names_a_registry(name.substr(0, slash))) {
        result.domain = name.substr(0, slash);
        name.remove_prefix(slash + 1);
    }
    if (result.domain.empty() || result.domain == "index.docker.io") {
        result.domain = kHub;
    }
    // Behind the last part's colon: no part may have one itself.
    if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
        result.tag = name.substr(colon + 1);
        if (!is_tag(result.tag)) {
            refuse(text, "invalid reference format");
        }
        name = name.substr(0, colon);
    }
    result.path = name;
    if (result.domain == kHub && name.find('/') == std::string_view::npos) {
        result.path.insert(0, kOfficial);
    }
    if (std::ranges::any_of(name, is_upper)) {
        refuse(text, "invalid reference format: repository name must be lowercase");
    }
    if (!is_domain(result.domain) || !each_part(result.path, '/', is_path_part)) {
        refuse(text, "invalid reference format");
    }
    if (result.repository().size() > kMostName) {
        refuse(text, "repository name must not be more than 255 characters");
    }
    if (result.digest) {
        result.tag.clear();
    } else if (result.tag.empty()) {
        result.tag = "latest";
    }
    return result;
}

std::string Reference::familiar_repository() const {
    if (domain != kHub) {
        return repository();
    }
    const bool is_official =
        path.starts_with(kOfficial) && path.find('/', kOfficial.size()) == std::string::npos;
    std::string name = is_official ? path.substr(kOfficial.size()) : path;
    // What would be read as something else is left whole.
    const size_t slash = name.find('/');
    const bool is_ambiguous =
        slash == std::string::npos ? looks_like_an_id(name) : names_a_registry(name.substr(0, slash));
    return is_ambiguous ? repository() : name;
}

std::string Reference::suffix() const {
    return digest ? "@" + digest->text() : ":" + tag;
}

}  // namespace hull::container
