#include "container/api/build_query.h"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/image/json.h"
#include "container/image/manifest.h"

namespace hull::container {

namespace json = boost::json;

namespace {

/// Parameters for what is not done here.
struct Refused {
    const char* parameter;
    const char* why;
};
constexpr Refused kRefused[] = {
    {"remote", "the daemon fetches no context: get it, and give its folder to the client"},
    {"squash", "--squash is not supported"},
    {"session", "a session of BuildKit's is not supported: build with DOCKER_BUILDKIT=0"},
    {"outputs", "--output is BuildKit's and is not supported"},
};

/// Members of HostConfig that are numbers.
struct Number {
    const char* parameter;
    const char* member;
};
constexpr Number kNumbers[] = {{"memory", "Memory"},       {"memswap", "MemorySwap"},
                               {"cpushares", "CpuShares"}, {"cpuperiod", "CpuPeriod"},
                               {"cpuquota", "CpuQuota"},   {"shmsize", "ShmSize"}};
constexpr Number kTexts[] = {{"cpusetcpus", "CpusetCpus"},
                             {"cpusetmems", "CpusetMems"},
                             {"cgroupparent", "CgroupParent"},
                             {"isolation", "Isolation"},
                             {"networkmode", "NetworkMode"}};
constexpr Number kLists[] = {{"extrahosts", "ExtraHosts"}, {"securityopt", "SecurityOpt"}};

json::value json_parameter(const RequestTarget& target, const char* name) {
    const std::string text = target.find(name).value_or("");
    if (text.empty()) {
        return nullptr;
    }
    boost::system::error_code error;
    json::value value = json::parse(text, error);
    if (error) {
        throw ApiError{400, "invalid value for \"" + std::string{name} + "\": it is no JSON"};
    }
    return value;
}

/// Texts by name; null where a member has none.
BuildArguments::Given pairs_of(const RequestTarget& target, const char* name) {
    BuildArguments::Given pairs;
    const json::value value = json_parameter(target, name);
    if (value.is_null()) {
        return pairs;
    }
    const auto refuse = [&] {
        throw ApiError{400, "invalid value for \"" + std::string{name} + "\": it is no object of texts"};
    };
    if (!value.is_object()) {
        refuse();
    }
    for (const auto& [key, text] : value.get_object()) {
        const bool is_fine = (text.is_string() || text.is_null()) &&
                             key.find('\0') == std::string_view::npos &&
                             (text.is_null() || text.get_string().find('\0') == json::string::npos);
        if (!is_fine) {
            refuse();
        }
        pairs[std::string{key}] =
            text.is_null() ? std::nullopt : std::optional{std::string{text.get_string()}};
    }
    return pairs;
}

json::object host_config_of(const RequestTarget& target) {
    json::object host;
    for (const Number& each : kNumbers) {
        const std::string text = target.find(each.parameter).value_or("");
        if (text.empty()) {
            continue;
        }
        int64_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc{} || end != text.data() + text.size()) {
            throw ApiError{400, "invalid value for \"" + std::string{each.parameter} + "\": \"" +
                                    printable(text) + "\""};
        }
        host[each.member] = number;
    }
    for (const Number& each : kTexts) {
        if (const std::string text = target.find(each.parameter).value_or(""); !text.empty()) {
            host[each.member] = text;
        }
    }
    for (const Number& each : kLists) {
        json::array list;
        for (const std::string& text : target.find_all(each.parameter)) {
            if (!text.empty()) {
                list.emplace_back(text);
            }
        }
        if (!list.empty()) {
            host[each.member] = std::move(list);
        }
    }
    if (json::value limits = json_parameter(target, "ulimits"); !limits.is_null()) {
        host["Ulimits"] = std::move(limits);
    }
    host["LogConfig"] = {{"Type", "none"}, {"Config", json::object{}}};
    return host;
}

std::vector<Reference> names_of(const RequestTarget& target) {
    std::vector<Reference> names;
    for (const std::string& text : target.find_all("t")) {
        if (text.empty()) {
            continue;
        }
        try {
            names.push_back(Reference::parse(text));
        } catch (const Error& error) {
            throw ApiError{400, error.what()};
        }
        if (names.back().digest) {
            throw ApiError{400, "build tag cannot contain a digest"};
        }
    }
    return names;
}

}  // namespace

BuildQuery parse_build_query(const RequestTarget& target) {
    for (const Refused& each : kRefused) {
        const std::string value = target.find(each.parameter).value_or("");
        if (!value.empty() && value != "0" && to_lower(value) != "false" && to_lower(value) != "none" &&
            value != "null" && value != "[]") {
            throw ApiError{501, each.why};
        }
    }
    if (target.find("version").value_or("1") == "2") {
        throw ApiError{501, "BuildKit is not supported: build with DOCKER_BUILDKIT=0"};
    }
    const Platform here = Platform::of_this_host();
    if (const std::string platform = target.find("platform").value_or("");
        !platform.empty() && platform != here.text() && platform != here.os) {
        throw ApiError{400,
                       "images for '" + printable(platform) + "' do not run here: this is " + here.text()};
    }
    BuildQuery query;
    query.names = names_of(target);
    if (const std::string file = target.find("dockerfile").value_or(""); !file.empty()) {
        query.file = file;
    }
    query.is_quiet = target.is_set("q");
    query.host_config = host_config_of(target);
    BuildOptions& options = query.options;
    options.arguments = pairs_of(target, "buildargs");
    options.target = target.find("target").value_or("");
    for (const auto& [name, value] : pairs_of(target, "labels")) {
        options.labels[name] = value.value_or("");
    }
    options.uses_cache = !target.is_set("nocache");
    options.pulls = target.is_set("pull");
    options.always_removes = target.is_set("forcerm");
    options.removes = options.always_removes || !target.find("rm") || target.is_set("rm");
    const json::value cache = json_parameter(target, "cachefrom");
    if (cache.is_array() && !cache.get_array().empty()) {
        options.notes.emplace_back(
            "[Warning] --cache-from means nothing here: what was built here before is always looked at");
    }
    return query;
}

}  // namespace hull::container
