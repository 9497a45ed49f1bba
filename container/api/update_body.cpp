#include "container/api/update_body.h"

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "container/api/api_error.h"
#include "container/api/create_body.h"
#include "container/api/create_limits.h"
#include "container/api/unsupported.h"

namespace hull::container {

namespace json = boost::json;

namespace {

const std::string kTried = "cannot update the container";
constexpr std::string_view kPolicy = "RestartPolicy";

[[noreturn]] void refuse(const std::string& message) {
    throw ApiError{400, message};
}

/// What parse_limits() looks at and a container that is there can have otherwise.
constexpr const char* kLimits[] = {"Memory",   "MemoryReservation", "MemorySwap", "MemorySwappiness",
                                   "NanoCpus", "CpuPeriod",         "CpuQuota",   "PidsLimit"};

bool is_set(const JsonObject& object, const char* key) {
    return object.integer(key).value_or(0) != 0;
}

/// dockerd's, of what is there already.
void refuse_conflicts(const JsonObject& wanted, const JsonObject& has) {
    for (const auto& [key, name] : {std::pair{"CpuPeriod", "CPU Period"}, {"CpuQuota", "CPU Quota"}}) {
        if (is_set(wanted, key) && is_set(has, "NanoCpus")) {
            refuse(std::string{"Conflicting options: "} + name +
                   " cannot be updated as NanoCPUs has already been set");
        }
        if (is_set(wanted, "NanoCpus") && is_set(has, key)) {
            refuse(std::string{"Conflicting options: Nano CPUs cannot be updated as "} + name +
                   " has already been set");
        }
    }
    const int64_t swap = has.integer("MemorySwap").value_or(0);
    if (swap > 0 && wanted.integer("Memory").value_or(0) > swap && !is_set(wanted, "MemorySwap")) {
        refuse(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the "
            "same time");
    }
}

SpecChange parse(const json::object& body, const ContainerSpec& spec) {
    const JsonObject wanted{body, kTried};
    refuse_conflicts(wanted, JsonObject{spec.host_config, kTried});
    SpecChange change{.host_config = spec.host_config, .restart = spec.restart, .limits = {}};
    for (const char* const key : kLimits) {
        if (is_set(wanted, key)) {
            change.host_config[key] = body.at(key);
        }
    }
    const JsonObject host_config{change.host_config, kTried};
    ContainerConfig limited;
    parse_limits(host_config, limited);
    change.limits = limited.group;
    if (const JsonObject policy = wanted.object(kPolicy); !policy.text("Name").empty()) {
        change.restart = parse_restart_policy(policy);
        if (spec.is_removed_at_end && change.restart.kind != RestartPolicy::Kind::no) {
            throw ApiError{
                409, "Restart policy cannot be updated because AutoRemove is enabled for the container"};
        }
        change.host_config[kPolicy] = body.at(kPolicy);
    }
    return change;
}

template <class Parse>
auto parse_object(const json::value& body, const Parse& parse_it) {
    if (!body.is_object()) {
        refuse("the body is no object");
    }
    try {
        return parse_it(body.get_object());
    } catch (const Error& error) {
        refuse(error.what());
    }
}

}  // namespace

void check_update_body(const json::value& body) {
    parse_object(body, [](const json::object& object) {
        refuse_unsupported({}, object);
        const JsonObject wanted{object, kTried};
        ContainerConfig ignored;
        parse_limits(wanted, ignored);
        if (const JsonObject policy = wanted.object(kPolicy); !policy.text("Name").empty()) {
            parse_restart_policy(policy);
        }
    });
}

SpecChange parse_update_body(const json::value& body, const ContainerSpec& spec) {
    return parse_object(body, [&](const json::object& object) { return parse(object, spec); });
}

}  // namespace hull::container
