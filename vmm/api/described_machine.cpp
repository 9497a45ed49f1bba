#include "vmm/api/described_machine.h"

#include <boost/json.hpp>
#include <string>

namespace hull {

namespace json = boost::json;

namespace {

HttpAnswer answer_of(const json::object& object) {
    constexpr unsigned kOk = 200;
    return {kOk, json::serialize(object)};
}

json::object machine_config(const MachineConfig& config) {
    return {{"vcpu_count", config.cpus},
            {"mem_size_mib", config.memory >> 20},
            {"smt", false},
            {"track_dirty_pages", false},
            {"huge_pages", config.hugepages ? "2M" : "None"}};
}

json::object drive(const DiskConfig& disk, size_t number) {
    json::object drive{{"drive_id", disk.name(number)},
                       {"is_root_device", false},
                       {"is_read_only", disk.use == virtio::DiskUse::read}};
    drive[disk.is_served ? "socket" : "path_on_host"] = disk.path.string();
    return drive;
}

json::object interface(const NetConfig& net, size_t number) {
    json::object interface {
        { "iface_id", net_name(number) }
    };
    if (net.kind == NetConfig::Kind::tap) {
        interface["host_dev_name"] = net.tap;
    }
    if (net.mac) {
        interface["guest_mac"] = mac_text(*net.mac);
    }
    return interface;
}

json::object whole_config(const MachineConfig& config) {
    json::object boot{{"kernel_image_path", config.kernel.string()}, {"boot_args", config.whole_cmdline()}};
    if (!config.initramfs.empty()) {
        boot["initrd_path"] = config.initramfs.front().string();
    }
    json::array drives;
    for (size_t number = 0; number < config.disks.size(); ++number) {
        drives.emplace_back(drive(config.disks[number], number));
    }
    json::array interfaces;
    for (size_t number = 0; number < config.nets.size(); ++number) {
        interfaces.emplace_back(interface(config.nets[number], number));
    }
    json::object whole{{"boot-source", std::move(boot)},
                       {"drives", std::move(drives)},
                       {"machine-config", machine_config(config)},
                       {"network-interfaces", std::move(interfaces)}};
    if (config.vsock) {
        whole["vsock"] = json::object{{"guest_cid", config.vsock->cid}, {"uds_path", config.vsock->path}};
    }
    if (config.rng) {
        whole["entropy"] = json::object{};
    }
    return whole;
}

}  // namespace

std::optional<HttpAnswer> describe(const HttpRequest& request, const MachineConfig& config,
                                   const char* state) {
    if (request.method != "GET") {
        return std::nullopt;
    }
    if (request.target == "/") {
        return answer_of(
            {{"id", "hull"}, {"state", state}, {"vmm_version", HULL_VERSION}, {"app_name", "Hull"}});
    }
    if (request.target == "/version") {
        return answer_of({{"firecracker_version", HULL_VERSION}});
    }
    if (request.target == "/machine-config") {
        return answer_of(machine_config(config));
    }
    if (request.target == "/vm/config") {
        return answer_of(whole_config(config));
    }
    return std::nullopt;
}

}  // namespace hull
