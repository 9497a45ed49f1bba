#include "container/api/json_shapes.h"

namespace hull::container {

namespace json = boost::json;

json::value set_of(const std::vector<std::string>& texts) {
    json::object all;
    for (const std::string& text : texts) {
        all[text] = json::object{};
    }
    return or_null(std::move(all));
}

json::value map_of(const std::map<std::string, std::string>& texts) {
    return or_null(members_of(texts));
}

bool has_label(const std::map<std::string, std::string>& labels, const std::string& wanted) {
    const size_t sign = wanted.find('=');
    const auto found = labels.find(wanted.substr(0, sign));
    return found != labels.end() && (sign == std::string::npos || found->second == wanted.substr(sign + 1));
}

json::object default_config() {
    return {{"Hostname", ""},       {"Domainname", ""},        {"User", ""},
            {"AttachStdin", false}, {"AttachStdout", false},   {"AttachStderr", false},
            {"Tty", false},         {"OpenStdin", false},      {"StdinOnce", false},
            {"Env", json::array{}}, {"Cmd", nullptr},          {"Image", ""},
            {"Volumes", nullptr},   {"WorkingDir", ""},        {"Entrypoint", nullptr},
            {"OnBuild", nullptr},   {"Labels", json::object{}}};
}

json::object default_host_config() {
    const json::value no_paths{nullptr};
    return {{"Binds", nullptr},
            {"ContainerIDFile", ""},
            {"LogConfig", {{"Type", "json-file"}, {"Config", json::object{}}}},
            {"NetworkMode", "default"},
            {"PortBindings", json::object{}},
            {"RestartPolicy", {{"Name", "no"}, {"MaximumRetryCount", 0}}},
            {"AutoRemove", false},
            {"VolumeDriver", ""},
            {"VolumesFrom", nullptr},
            {"ConsoleSize", json::array{0, 0}},
            {"CapAdd", nullptr},
            {"CapDrop", nullptr},
            {"CgroupnsMode", "private"},
            {"Dns", json::array{}},
            {"DnsOptions", json::array{}},
            {"DnsSearch", json::array{}},
            {"ExtraHosts", nullptr},
            {"GroupAdd", nullptr},
            {"IpcMode", "private"},
            {"Cgroup", ""},
            {"Links", nullptr},
            {"OomScoreAdj", 0},
            {"PidMode", ""},
            {"Privileged", false},
            {"PublishAllPorts", false},
            {"ReadonlyRootfs", false},
            {"SecurityOpt", nullptr},
            {"Tmpfs", nullptr},
            {"UTSMode", ""},
            {"UsernsMode", ""},
            {"ShmSize", int64_t{64} << 20},
            {"Sysctls", nullptr},
            {"Runtime", "hull"},
            {"Isolation", ""},
            {"CpuShares", 0},
            {"Memory", 0},
            {"NanoCpus", 0},
            {"CgroupParent", ""},
            {"BlkioWeight", 0},
            {"CpuPeriod", 0},
            {"CpuQuota", 0},
            {"CpusetCpus", ""},
            {"CpusetMems", ""},
            {"Devices", json::array{}},
            {"DeviceRequests", nullptr},
            {"MemoryReservation", 0},
            {"MemorySwap", 0},
            {"MemorySwappiness", nullptr},
            {"OomKillDisable", false},
            {"PidsLimit", nullptr},
            {"Ulimits", nullptr},
            {"Mounts", nullptr},
            {"MaskedPaths", no_paths},
            {"ReadonlyPaths", no_paths}};
}

}  // namespace hull::container
