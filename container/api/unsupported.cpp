#include "container/api/unsupported.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/printable.h"
#include "container/api/api_error.h"

namespace hull::container {

namespace json = boost::json;

namespace {

[[noreturn]] void refuse(const std::string& what) {
    throw ApiError{501, what + " is not supported: each container is in a virtual machine of its own"};
}

struct Option {
    const char* key;
    const char* name;  ///< as users know it
};

constexpr Option kOfHost[] = {
    {"Devices", "a device of the host (--device)"},
    {"DeviceRequests", "a device of the host (--gpus)"},
    {"DeviceCgroupRules", "a rule for devices (--device-cgroup-rule)"},
    {"CgroupParent", "a parent of the control group (--cgroup-parent)"},
    {"Cgroup", "another container's control group"},
    {"GroupAdd", "further groups of the command's (--group-add)"},
    {"OomKillDisable", "a container without an end for lack of memory (--oom-kill-disable)"},
    {"OomScoreAdj", "an adjusted score for lack of memory (--oom-score-adj)"},
    {"KernelMemory", "a limit of the kernel's memory (--kernel-memory)"},
    {"KernelMemoryTCP", "a limit of the kernel's memory"},
    {"CpuShares", "a relative weight (--cpu-shares)"},
    {"CpuRealtimePeriod", "real-time scheduling (--cpu-rt-period)"},
    {"CpuRealtimeRuntime", "real-time scheduling (--cpu-rt-runtime)"},
    {"CpusetCpus", "a choice of processors (--cpuset-cpus)"},
    {"CpusetMems", "a choice of memory nodes (--cpuset-mems)"},
    {"CpuCount", "a count of processors as Windows has it (--cpu-count)"},
    {"CpuPercent", "a part of processors as Windows has it (--cpu-percent)"},
    {"IOMaximumIOps", "a limit as Windows has it (--io-maxiops)"},
    {"IOMaximumBandwidth", "a limit as Windows has it (--io-maxbandwidth)"},
    {"BlkioWeight", "a weight for disks (--blkio-weight)"},
    {"BlkioWeightDevice", "a weight for disks (--blkio-weight-device)"},
    {"BlkioDeviceReadBps", "a limit of a device (--device-read-bps)"},
    {"BlkioDeviceWriteBps", "a limit of a device (--device-write-bps)"},
    {"BlkioDeviceReadIOps", "a limit of a device (--device-read-iops)"},
    {"BlkioDeviceWriteIOps", "a limit of a device (--device-write-iops)"},
    {"StorageOpt", "an option of the storage driver's (--storage-opt)"},
    {"PidMode", "the processes of another (--pid)"},
    {"UTSMode", "the names of another (--uts)"},
};

constexpr Option kOfConfig[] = {
    {"Domainname", "a domain name (--domainname)"},
};

/// As if it had not been said.
bool is_nothing(const json::value& value) {
    switch (value.kind()) {
        case json::kind::null:
            return true;
        case json::kind::bool_:
            return !value.get_bool();
        case json::kind::int64:
            return value.get_int64() == 0;
        case json::kind::uint64:
            return value.get_uint64() == 0;
        case json::kind::double_:
            return value.get_double() == 0;
        case json::kind::string:
            return value.get_string().empty();
        case json::kind::array:
            return value.get_array().empty();
        case json::kind::object:
            return value.get_object().empty();
    }
    return false;
}

const json::value& member(const json::object& object, std::string_view key) {
    static const json::value none;
    const json::value* const found = object.if_contains(key);
    return found == nullptr ? none : *found;
}

/// Whether it is one of these words, or nothing.
template <size_t Count>
bool is_one_of(const json::value& value, const std::array<std::string_view, Count>& words) {
    return is_nothing(value) ||
           (value.is_string() &&
            std::ranges::find(words, std::string_view{value.get_string()}) != words.end());
}

template <size_t Count>
void refuse_given(const json::object& object, const Option (&options)[Count]) {
    for (const Option& option : options) {
        if (!is_nothing(member(object, option.key))) {
            refuse(option.name);
        }
    }
}

}  // namespace

void refuse_unsupported(const json::object& body, const json::object& host_config) {
    refuse_given(body, kOfConfig);
    refuse_given(host_config, kOfHost);
    constexpr std::array<std::string_view, 2> kOwnIpc{"private", "shareable"};
    if (!is_one_of(member(host_config, "IpcMode"), kOwnIpc)) {
        refuse("the memory of another (--ipc)");
    }
    constexpr std::array<std::string_view, 1> kOwnGroups{"private"};
    if (!is_one_of(member(host_config, "CgroupnsMode"), kOwnGroups)) {
        refuse("the host's control groups (--cgroupns)");
    }
    constexpr std::array<std::string_view, 1> kNoUsers{"host"};
    if (!is_one_of(member(host_config, "UsernsMode"), kNoUsers)) {
        refuse("another namespace of users (--userns)");
    }
    constexpr std::array<std::string_view, 1> kIsolation{"default"};
    if (!is_one_of(member(host_config, "Isolation"), kIsolation)) {
        refuse("another isolation (--isolation)");
    }
    const json::value& runtime = member(host_config, "Runtime");
    if (!is_nothing(runtime)) {
        throw ApiError{400,
                       "unknown or invalid runtime name: " +
                           (runtime.is_string() ? printable(std::string_view{runtime.get_string()}) : "?")};
    }
    // Lists of other paths than the usual ones, be they empty, are what --security-opt systempaths is.
    for (const char* key : {"MaskedPaths", "ReadonlyPaths"}) {
        if (!member(host_config, key).is_null()) {
            refuse("other hidden paths (--security-opt systempaths)");
        }
    }
}

void refuse_network(const std::string& name) {
    if (name == "host") {
        refuse("the host's network (--network host)");
    }
    if (name.starts_with("container:")) {
        refuse("the network of another container (--network container:)");
    }
}

void refuse_mount(const std::string& kind) {
    if (kind == "npipe" || kind == "cluster" || kind == "image") {
        throw ApiError{
            501, "a mount of type '" + kind + "' (--mount) is not supported: bind, volume and tmpfs are"};
    }
    throw ApiError{400, "mount type unknown: \"" + printable(kind) + "\""};
}

std::optional<bool> asks_for_no_new_privileges(const std::string& option) {
    constexpr std::string_view kName = "no-new-privileges";
    if (option.starts_with(kName)) {
        const std::string_view rest = std::string_view{option}.substr(kName.size());
        if (rest.empty() || rest == ":true" || rest == "=true") {
            return true;
        }
        if (rest == ":false" || rest == "=false") {
            return false;
        }
    }
    // The guest's kernel has none of these, so that who wants none has what he wants.
    constexpr std::array<std::string_view, 7> kSo{
        "seccomp=unconfined", "seccomp:unconfined", "apparmor=unconfined",    "apparmor:unconfined",
        "label=disable",      "label:disable",      "apparmor=docker-default"};
    if (std::ranges::find(kSo, option) != kSo.end()) {
        return std::nullopt;
    }
    for (const std::string_view known : {"seccomp", "apparmor", "label", "systempaths"}) {
        if (option.starts_with(known)) {
            refuse("the security option '" + printable(option, 40) + "' (--security-opt)");
        }
    }
    throw ApiError{400, "invalid --security-opt 2: \"" + printable(option) + "\""};
}

}  // namespace hull::container
