#include "container/api/container_json.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "container/api/json_shapes.h"
#include "container/image/digest.h"
#include "container/main/human.h"
#include "vmm/agent/command_surroundings.h"

namespace hull::container {

namespace json = boost::json;
using Clock = std::chrono::system_clock;

namespace {

/// A text of the specification's objects; empty where it is none.
std::string text_of(const json::object& object, std::string_view key) {
    const json::value* const value = object.if_contains(key);
    const json::string* const text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? "" : std::string{*text};
}

std::string key_of(const PortBinding& port) {
    return std::to_string(port.container_port) + "/" + port.protocol;
}

/// Docker's ports, each with where it is at the host, or null.
json::object ports_of(const ContainerView& container) {
    json::object all;
    for (const std::string& port : exposed_ports_of(*container.spec)) {
        all[port] = nullptr;
    }
    for (const PortBinding& port : container.ports) {
        json::value& bindings = all[key_of(port)];
        if (!bindings.is_array()) {
            bindings = json::array{};
        }
        bindings.get_array().push_back(
            {{"HostIp", port.host_address}, {"HostPort", std::to_string(port.host_port)}});
    }
    return all;
}

json::object attachment_json(const ContainerView& container, const Attachment& attachment) {
    const std::optional<Endpoint>& endpoint = attachment.endpoint;
    const bool is_there = container.is_running();
    const bool is_on_user_network = is_there && !endpoint && attachment.name == Network::kBridge;
    json::value asked = nullptr;  // with braces it would be an array
    if (attachment.address) {
        asked = json::object{{"IPv4Address", address_text(*attachment.address)}};
    }
    std::vector<std::string> links;
    for (const auto& [other, alias] : attachment.links) {
        links.push_back(other + ":" + alias);
    }
    json::object shown{{"IPAMConfig", std::move(asked)},
                       {"Links", or_null(array_of(links))},
                       {"Aliases", or_null(array_of(attachment.aliases))},
                       {"NetworkID", attachment.network},
                       {"EndpointID", endpoint_id(container, attachment)},
                       {"Gateway", is_on_user_network ? user_network::kGatewayText : ""},
                       {"IPAddress", is_on_user_network ? user_network::kGuestText : ""},
                       {"IPPrefixLen", is_on_user_network ? user_network::kPrefix : 0},
                       {"IPv6Gateway", ""},
                       {"GlobalIPv6Address", ""},
                       {"GlobalIPv6PrefixLen", 0},
                       {"MacAddress", ""},
                       {"DriverOpts", nullptr}};
    if (is_there && endpoint) {
        shown["Gateway"] = endpoint->gateway == 0 ? "" : address_text(endpoint->gateway);
        shown["IPAddress"] = address_text(endpoint->address);
        shown["IPPrefixLen"] = endpoint->prefix;
        shown["MacAddress"] = endpoint->mac;
    }
    return shown;
}

json::object attachments_json(const ContainerView& container) {
    json::object all;
    for (const Attachment& each : container.networks) {
        all[each.name] = attachment_json(container, each);
    }
    return all;
}

json::object network_settings(const ContainerView& container) {
    json::object networks = attachments_json(container);
    json::object settings{{"Bridge", ""},
                          {"SandboxID", ""},
                          {"SandboxKey", ""},
                          {"HairpinMode", false},
                          {"LinkLocalIPv6Address", ""},
                          {"LinkLocalIPv6PrefixLen", 0},
                          {"SecondaryIPAddresses", nullptr},
                          {"SecondaryIPv6Addresses", nullptr},
                          {"Ports", container.is_running() ? ports_of(container) : json::object{}}};
    // What clients of old know, of the default network.
    const json::object nothing = attachment_json(container, {.name = Network::kNone});
    const json::value* const bridge = networks.if_contains(Network::kBridge);
    for (const char* key : {"EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress",
                            "IPPrefixLen", "IPv6Gateway", "MacAddress"}) {
        settings[key] = (bridge != nullptr ? bridge->get_object() : nothing).at(key);
    }
    settings["Networks"] = std::move(networks);
    return settings;
}

json::object health_of(const Health& health) {
    json::array log;
    for (const HealthResult& each : health.log) {
        log.push_back({{"Start", time_text(each.start)},
                       {"End", time_text(each.end)},
                       {"ExitCode", each.exit_code},
                       {"Output", each.output}});
    }
    return {{"Status", health.word()}, {"FailingStreak", health.failing_streak}, {"Log", std::move(log)}};
}

json::object state_json(const ContainerView& container) {
    using Stage = ContainerView::Stage;
    const RunState& state = container.state;
    const bool is_alive = container.is_running() || container.stage == Stage::restarting;
    json::object shown{{"Status", container.stage_word()},
                       {"Running", is_alive},
                       {"Paused", container.stage == Stage::paused},
                       {"Restarting", container.stage == Stage::restarting},
                       {"OOMKilled", state.is_out_of_memory},
                       {"Dead", false},
                       {"Pid", container.is_running() ? state.supervisor : 0},
                       {"ExitCode", container.is_running() ? 0 : state.exit_status},
                       {"Error", state.error},
                       {"StartedAt", time_text(state.started)},
                       {"FinishedAt", time_text(state.finished)}};
    if (state.health) {
        shown["Health"] = health_of(*state.health);
    }
    return shown;
}

/// As docker ps shows it; empty where nobody knows.
std::string health_word(const RunState& state) {
    if (!state.health) {
        return "";
    }
    return state.health->status == Health::Status::starting ? " (health: starting)"
                                                            : " (" + state.health->word() + ")";
}

/// As docker ps shows it: words with a space in quotation marks.
std::string command_line(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) {
        const bool is_quoted = !line.empty() && word.find(' ') != std::string::npos;
        line += (line.empty() ? "" : " ") + (is_quoted ? "'" + word + "'" : word);
    }
    return line;
}

json::array list_ports(const ContainerView& container) {
    json::array all;
    for (const auto& port : container.is_running() ? ports_of(container) : json::object{}) {
        const std::string_view key = port.key();
        const size_t slash = key.find('/');
        unsigned number = 0;
        std::from_chars(key.data(), key.data() + std::min(slash, key.size()), number);
        const json::object plain{{"PrivatePort", number},
                                 {"Type", slash == std::string_view::npos ? "tcp" : key.substr(slash + 1)}};
        if (!port.value().is_array()) {
            all.push_back(plain);
        }
    }
    for (const PortBinding& port : container.ports) {
        all.push_back({{"IP", port.host_address},
                       {"PrivatePort", port.container_port},
                       {"PublicPort", port.host_port},
                       {"Type", port.protocol}});
    }
    return all;
}

json::object mount_json(const ContainerMount& mount) {
    const bool is_bind = mount.kind == ContainerMount::Kind::bind;
    json::object shown{{"Type", is_bind ? "bind" : "volume"}};
    if (!is_bind) {
        shown["Name"] = mount.volume;
    }
    shown["Source"] = mount.source;
    shown["Destination"] = mount.target;
    if (!is_bind) {
        shown["Driver"] = "local";
    }
    shown["Mode"] = mount.mode;
    shown["RW"] = !mount.is_read_only;
    shown["Propagation"] = is_bind ? "rprivate" : "";
    return shown;
}

json::array mounts_of(const ContainerSpec& spec) {
    json::array all;
    for (const ContainerMount& mount : spec.mounts) {
        all.push_back(mount_json(mount));
    }
    const json::value* const mounts = spec.host_config.if_contains("Mounts");
    if (mounts == nullptr || !mounts->is_array()) {
        return all;
    }
    for (const json::value& mount : mounts->get_array()) {
        const json::object* const object = mount.if_object();
        if (object != nullptr && text_of(*object, "Type") == "tmpfs") {
            all.push_back({{"Type", "tmpfs"},
                           {"Source", ""},
                           {"Destination", text_of(*object, "Target")},
                           {"Mode", ""},
                           {"RW", true},
                           {"Propagation", ""}});
        }
    }
    return all;
}

}  // namespace

std::map<std::string, std::string> labels_of(const ContainerSpec& spec) {
    std::map<std::string, std::string> labels;
    const json::value* const known = spec.config.if_contains("Labels");
    if (known != nullptr && known->is_object()) {
        for (const auto& label : known->get_object()) {
            labels.emplace(label.key(), text_of(known->get_object(), label.key()));
        }
    }
    return labels;
}

std::vector<std::string> exposed_ports_of(const ContainerSpec& spec) {
    std::vector<std::string> ports;
    const json::value* const known = spec.config.if_contains("ExposedPorts");
    if (known != nullptr && known->is_object()) {
        for (const auto& port : known->get_object()) {
            const std::string key{port.key()};
            ports.push_back(key.find('/') == std::string::npos ? key + "/tcp" : key);
        }
    }
    return ports;
}

std::string endpoint_id(const ContainerView& container, const Attachment& attachment) {
    if (!container.is_running() || !attachment.endpoint) {
        return "";
    }
    const std::string both = container.id + attachment.network;
    return Digest::of(std::as_bytes(std::span{both})).digits();
}

std::string status_text(const ContainerView& container, Clock::time_point now) {
    using Stage = ContainerView::Stage;
    const auto since = [&](Clock::time_point time) {
        return human_duration(
            std::max(std::chrono::duration_cast<std::chrono::seconds>(now - time), std::chrono::seconds{0}));
    };
    const std::string status = "(" + std::to_string(container.state.exit_status) + ") ";
    switch (container.stage) {
        case Stage::created:
            return "Created";
        case Stage::running:
            return "Up " + since(container.state.started) + health_word(container.state);
        case Stage::paused:
            return "Up " + since(container.state.started) + " (Paused)";
        case Stage::restarting:
            return "Restarting " + status + since(container.state.finished) + " ago";
        case Stage::removing:
            return "Removal In Progress";
        case Stage::exited:
            break;
    }
    return "Exited " + status + since(container.state.finished) + " ago";
}

json::object list_json(const ContainerView& container, Clock::time_point now) {
    const ContainerSpec& spec = *container.spec;
    return {{"Id", container.id},
            {"Names", json::array{"/" + container.name}},
            {"Image", spec.image_name},
            {"ImageID", spec.image},
            {"Command", command_line(spec.run.config.command)},
            {"Created", Clock::to_time_t(container.created)},
            {"Ports", list_ports(container)},
            {"Labels", spec.config.contains("Labels") ? spec.config.at("Labels") : json::object{}},
            {"State", container.stage_word()},
            {"Status", status_text(container, now)},
            {"HostConfig", {{"NetworkMode", text_of(spec.host_config, "NetworkMode")}}},
            {"NetworkSettings", {{"Networks", attachments_json(container)}}},
            {"Mounts", mounts_of(spec)}};
}

json::object inspect_json(const ContainerView& container) {
    const ContainerSpec& spec = *container.spec;
    const std::vector<std::string>& command = spec.run.config.command;
    return {{"Id", container.id},
            {"Created", time_text(container.created)},
            {"Path", command.empty() ? "" : command.front()},
            {"Args",
             array_of(std::vector<std::string>(command.begin() + (command.empty() ? 0 : 1), command.end()))},
            {"State", state_json(container)},
            {"Image", spec.image},
            {"ResolvConfPath", ""},
            {"HostnamePath", ""},
            {"HostsPath", ""},
            {"LogPath", spec.run.log.is_kept ? container.files.log().string() : ""},
            {"Name", "/" + container.name},
            {"RestartCount", container.restarts},
            {"Driver", "erofs"},
            {"Platform", "linux"},
            {"MountLabel", ""},
            {"ProcessLabel", ""},
            {"AppArmorProfile", ""},
            {"ExecIDs", nullptr},
            {"HostConfig", spec.host_config},
            {"GraphDriver", {{"Data", nullptr}, {"Name", "erofs"}}},
            {"Mounts", mounts_of(spec)},
            {"Config", spec.config},
            {"NetworkSettings", network_settings(container)}};
}

json::object exec_json(const ExecView& exec) {
    const std::vector<std::string>& command = exec.config.command;
    return {{"ID", exec.id},
            {"Running", exec.is_running},
            {"ExitCode", exec.exit_status ? json::value(*exec.exit_status) : json::value(nullptr)},
            {"ProcessConfig",
             {{"tty", exec.config.tty},
              {"entrypoint", command.empty() ? "" : command.front()},
              {"arguments", array_of(std::vector<std::string>(command.begin() + (command.empty() ? 0 : 1),
                                                              command.end()))},
              {"privileged", exec.config.is_privileged},
              {"user", exec.config.user}}},
            {"OpenStdin", exec.config.has_input},
            {"OpenStderr", exec.config.has_errors},
            {"OpenStdout", exec.config.has_output},
            {"CanRemove", false},
            {"ContainerID", exec.container},
            {"DetachKeys", exec.config.detach_keys},
            {"Pid", 0}};
}

json::object event_json(const Event& event) {
    const auto nanoseconds =
        std::chrono::duration_cast<std::chrono::nanoseconds>(event.time.time_since_epoch()).count();
    constexpr int64_t kSecond = 1'000'000'000;
    json::object attributes;
    for (const auto& [key, value] : event.attributes) {
        attributes[key] = value;
    }
    // What clients of old knew events by, of the two kinds that there were then.
    json::object shown;
    if (event.type == "container" || event.type == "image") {
        shown = {{"status", event.action}, {"id", event.id}};
    }
    if (const auto image = event.attributes.find("image"); image != event.attributes.end()) {
        shown["from"] = image->second;
    }
    shown["Type"] = event.type;
    shown["Action"] = event.action;
    shown["Actor"] = {{"ID", event.id}, {"Attributes", std::move(attributes)}};
    shown["scope"] = "local";
    shown["time"] = nanoseconds / kSecond;
    shown["timeNano"] = nanoseconds;
    return shown;
}

}  // namespace hull::container
