#include "vmm/api/machine_api.h"

#include <algorithm>
#include <boost/json.hpp>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hull {

namespace json = boost::json;

namespace {

using Reply = HttpServer::Reply;

constexpr unsigned kBadRequest = 400;
constexpr unsigned kOk = 200;

/// A body that cannot be used; its text is the client's answer.
class BadBody : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The texts of a JSON object that has nothing else.
class Body {
  public:
    /// Refuses members that are not `known`.
    Body(const std::string& text, std::initializer_list<std::string_view> known) {
        boost::system::error_code error;
        const json::value value = json::parse(text, error);
        if (error || !value.is_object()) {
            refuse(error ? error.message() : "it is no object");
        }
        members_ = value.get_object();
        for (const auto& member : members_) {
            if (std::ranges::find(known, std::string_view{member.key()}) == known.end()) {
                refuse("unknown field `" + std::string{member.key()} + "`");
            }
        }
    }

    [[nodiscard]] std::string text(std::string_view name) const {
        const auto* const value = members_.if_contains(name);
        if (value == nullptr) {
            refuse("missing field `" + std::string{name} + "`");
        }
        if (!value->is_string()) {
            refuse("`" + std::string{name} + "` is not a string");
        }
        return std::string{value->get_string()};
    }
    /// `otherwise` where it is missing.
    [[nodiscard]] std::string text(std::string_view name, const char* otherwise) const {
        return members_.contains(name) ? text(name) : otherwise;
    }

  private:
    [[noreturn]] static void refuse(const std::string& why) {
        throw BadBody{"An error occurred when deserializing the json body of a request: " + why + "."};
    }

    json::object members_;
};

HttpAnswer answer_of(const json::object& object) {
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

/// What a request that ends later is answered with.
ControlledMachine::Done done(const Reply& reply) {
    return [reply](const std::string& why_not) {
        reply(why_not.empty() ? HttpAnswer{} : HttpServer::fault(kBadRequest, why_not));
    };
}

}  // namespace

void MachineApi::handle(const HttpRequest& request, const Reply& reply) {
    const std::string what = request.method + " " + request.target;
    try {
        if (what == "GET /") {
            reply(answer_of({{"id", "hull"},
                             {"state", machine_.is_paused() ? "Paused" : "Running"},
                             {"vmm_version", HULL_VERSION},
                             {"app_name", "Hull"}}));
        } else if (what == "GET /version") {
            reply(answer_of({{"firecracker_version", HULL_VERSION}}));
        } else if (what == "GET /machine-config") {
            reply(answer_of(machine_config(machine_.config())));
        } else if (what == "GET /vm/config") {
            reply(answer_of(whole_config(machine_.config())));
        } else if (what == "PATCH /vm") {
            change_vm(request, reply);
        } else if (what == "PUT /actions") {
            act(request, reply);
        } else if (what == "PUT /snapshot/create") {
            create_snapshot(request, reply);
        } else {
            reply(HttpServer::fault(kBadRequest, "Invalid request method and/or path: " + what + "."));
        }
    } catch (const BadBody& error) {
        reply(HttpServer::fault(kBadRequest, error.what()));
    }
}

void MachineApi::change_vm(const HttpRequest& request, const Reply& reply) {
    const std::string state = Body{request.body, {"state"}}.text("state");
    if (state == "Paused") {
        machine_.pause(done(reply));
    } else if (state == "Resumed") {
        machine_.resume(done(reply));
    } else {
        throw BadBody{"An error occurred when deserializing the json body of a request: unknown variant `" +
                      state + "`, expected `Paused` or `Resumed`."};
    }
}

void MachineApi::act(const HttpRequest& request, const Reply& reply) {
    const std::string action = Body{request.body, {"action_type"}}.text("action_type");
    if (action == "SendCtrlAltDel") {
        machine_.press_power_button();
        reply({});
    } else if (action == "InstanceStart") {
        reply(HttpServer::fault(kBadRequest,
                                "The requested operation is not supported after starting the microVM."));
    } else if (action == "FlushMetrics") {
        reply(HttpServer::fault(kBadRequest, "Hull has no metrics yet."));
    } else {
        throw BadBody{"An error occurred when deserializing the json body of a request: unknown variant `" +
                      action + "`, expected one of `FlushMetrics`, `InstanceStart`, `SendCtrlAltDel`."};
    }
}

void MachineApi::create_snapshot(const HttpRequest& request, const Reply& reply) {
    const Body body{request.body, {"snapshot_type", "snapshot_path", "mem_file_path"}};
    const SnapshotFiles files{body.text("snapshot_path"), body.text("mem_file_path")};
    const std::string type = body.text("snapshot_type", "Full");
    if (type == "Diff") {
        reply(HttpServer::fault(kBadRequest, "Hull takes no incremental snapshots yet: take a Full one."));
    } else if (type != "Full") {
        throw BadBody{"An error occurred when deserializing the json body of a request: unknown variant `" +
                      type + "`, expected `Full` or `Diff`."};
    } else if (!machine_.is_paused()) {
        reply(
            HttpServer::fault(kBadRequest, "Cannot take a snapshot of a machine that runs: pause it first."));
    } else {
        machine_.save(files, done(reply));
    }
}

}  // namespace hull
