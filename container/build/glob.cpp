#include "container/build/glob.h"

#include <algorithm>
#include <optional>

#include "container/build/dockerfile.h"
#include "container/layer/file_tree.h"

namespace hull::container {

namespace {

/// Takes "[…]" from the pattern, and tells whether it has a byte; none where it is malformed.
std::optional<bool> take_class(std::string_view& pattern, char byte) {
    pattern.remove_prefix(1);
    bool is_negated = false;
    if (pattern.starts_with('^')) {
        is_negated = true;
        pattern.remove_prefix(1);
    }
    const auto take_one = [&pattern]() -> std::optional<unsigned char> {
        if (pattern.starts_with('\\')) {
            pattern.remove_prefix(1);
        } else if (pattern.starts_with('-') || pattern.starts_with(']')) {
            return std::nullopt;
        }
        if (pattern.empty()) {
            return std::nullopt;
        }
        const char first = pattern.front();
        pattern.remove_prefix(1);
        return static_cast<unsigned char>(first);
    };
    bool has = false;
    for (bool is_first = true; is_first || !pattern.starts_with(']'); is_first = false) {
        const auto low = take_one();
        if (!low) {
            return std::nullopt;
        }
        auto high = low;
        if (pattern.starts_with('-')) {
            pattern.remove_prefix(1);
            high = take_one();
            if (!high) {
                return std::nullopt;
            }
        }
        const auto wanted = static_cast<unsigned char>(byte);
        has = has || (*low <= wanted && wanted <= *high);
        if (pattern.empty()) {
            return std::nullopt;
        }
    }
    pattern.remove_prefix(1);
    return has != is_negated;
}

/// Takes what stands for one byte from the pattern; false where it does not stand for this one.
bool take_one(std::string_view& pattern, char byte) {
    switch (pattern.front()) {
        case '?':
            pattern.remove_prefix(1);
            return byte != '/';
        case '[': {
            const auto has = take_class(pattern, byte);
            return has.value_or(false) && byte != '/';
        }
        case '\\':
            pattern.remove_prefix(1);
            if (pattern.empty()) {
                return false;
            }
            [[fallthrough]];
        default: {
            const bool is_same = pattern.front() == byte;
            pattern.remove_prefix(1);
            return is_same;
        }
    }
}

std::vector<std::string> split(std::string_view path) {
    std::vector<std::string> names;
    for (;;) {
        const size_t slash = path.find('/');
        names.emplace_back(path.substr(0, slash));
        if (slash == std::string_view::npos) {
            return names;
        }
        path.remove_prefix(slash + 1);
    }
}

/// Whether the pattern's names mean those of the path, or of a folder that it is in.
bool matches_names(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
    // What of the path can be reached by so much of the pattern.
    std::vector<bool> reached(path.size() + 1, false);
    reached[0] = true;
    for (const std::string& each : pattern) {
        std::vector<bool> next(path.size() + 1, false);
        bool is_reached = false;
        for (size_t at = 0; at <= path.size(); ++at) {
            is_reached = is_reached || reached[at];
            if (each == "**") {
                next[at] = is_reached;
            } else if (at > 0 && reached[at - 1] && matches_pattern(each, path[at - 1])) {
                next[at] = true;
            }
        }
        reached = std::move(next);
    }
    return std::ranges::find(reached.begin() + 1, reached.end(), true) != reached.end();
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view name) {
    // Where to go on when what follows the last star does not fit.
    std::string_view star_pattern;
    std::string_view star_name;
    bool has_star = false;
    while (!name.empty() || !pattern.empty()) {
        if (pattern.starts_with('*')) {
            pattern.remove_prefix(1);
            star_pattern = pattern;
            star_name = name;
            has_star = true;
            continue;
        }
        std::string_view rest = pattern;
        if (!name.empty() && !pattern.empty() && take_one(rest, name.front())) {
            pattern = rest;
            name.remove_prefix(1);
            continue;
        }
        if (!has_star || star_name.empty() || star_name.front() == '/') {
            return false;
        }
        star_name.remove_prefix(1);
        pattern = star_pattern;
        name = star_name;
    }
    return true;
}

bool has_pattern(std::string_view text) {
    for (size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\\') {
            ++at;
        } else if (text[at] == '*' || text[at] == '?' || text[at] == '[') {
            return true;
        }
    }
    return false;
}

bool is_ignored(const std::string& path, const std::vector<std::string>& lines) {
    bool is_out = false;
    const std::vector<std::string> names = split(path);
    for (const std::string& line : lines) {
        const bool takes_back = line.starts_with('!');
        if (takes_back == is_out && matches_names(split(line.substr(takes_back ? 1 : 0)), names)) {
            is_out = !takes_back;
        }
    }
    return is_out;
}

std::vector<std::string> ignore_lines(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const size_t end = text.find('\n');
        const std::string_view whole = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        std::string_view line = trim(whole);
        if (whole.starts_with('#') || line.empty()) {
            continue;
        }
        const bool takes_back = line.starts_with('!');
        line = trim(line.substr(takes_back ? 1 : 0));
        if (const std::string cleaned = clean_path(line); !cleaned.empty()) {
            lines.push_back((takes_back ? "!" : "") + cleaned);
        }
    }
    return lines;
}

}  // namespace hull::container
