#include "container/build/build_arguments.h"

#include <algorithm>
#include <string_view>

namespace hull::container {

namespace {

constexpr std::string_view kPredefined[] = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                                            "FTP_PROXY",  "ftp_proxy",  "NO_PROXY",    "no_proxy"};

bool is_predefined(const std::string& name) {
    return std::ranges::find(kPredefined, name) != std::end(kPredefined);
}

}  // namespace

void BuildArguments::add_global(const std::string& name, const std::optional<std::string>& value) {
    globals_[name] = value;
    add(name, value);
}

void BuildArguments::add(const std::string& name, const std::optional<std::string>& value) {
    ours_[name] = value;
    used_.insert(name);
}

std::optional<std::string> BuildArguments::given(const std::string& name) {
    used_.insert(name);
    const auto found = given_.find(name);
    return found == given_.end() ? std::nullopt : found->second;
}

std::optional<std::string> BuildArguments::value_of(const std::string& name, const Values& known) const {
    const auto own = known.find(name);
    if (own == known.end() && !is_predefined(name)) {
        return std::nullopt;
    }
    if (const auto given = given_.find(name); given != given_.end() && given->second) {
        return given->second;
    }
    if (own != known.end() && own->second) {
        return own->second;
    }
    const auto global = globals_.find(name);
    return global == globals_.end() ? std::nullopt : global->second;
}

std::optional<std::string> BuildArguments::find_global(const std::string& name) const {
    return value_of(name, globals_);
}

std::optional<std::string> BuildArguments::find(const std::string& name) const {
    return value_of(name, ours_);
}

std::vector<std::string> BuildArguments::all_but(const std::vector<std::string>& environment) const {
    std::set<std::string> names{std::begin(kPredefined), std::end(kPredefined)};
    for (const auto& [name, value] : ours_) {
        names.insert(name);
    }
    std::vector<std::string> all;
    for (const std::string& name : names) {
        const bool is_set = std::ranges::any_of(
            environment, [&](const std::string& variable) { return variable.starts_with(name + "="); });
        if (const auto value = find(name); value && !is_set) {
            all.push_back(name + "=" + *value);
        }
    }
    std::ranges::sort(all);
    return all;
}

bool BuildArguments::counts(const std::string& name) const {
    return ours_.contains(name) || !is_predefined(name);
}

std::vector<std::string> BuildArguments::unused() const {
    std::vector<std::string> names;
    for (const auto& [name, value] : given_) {
        if (!used_.contains(name) && !is_predefined(name)) {
            names.push_back(name);
        }
    }
    return names;
}

}  // namespace hull::container
