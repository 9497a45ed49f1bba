#include "container/supervisor/container_files.h"

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <ctime>
#include <string_view>

#include "base/error.h"
#include "base/small_file.h"
#include "container/image/json.h"
#include "container/network/container_link.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr double kNano = 1e9;

constexpr std::array<std::string_view, 3> kWays{"share", "cached share", "disk"};  // of SharedMount::By
constexpr std::array<std::string_view, 3> kStages{"booting", "running", "ended"};

/// All 64 bits of it: JSON's own numbers are for less.
std::string wide(uint64_t number) {
    return std::to_string(number);
}

uint64_t wide_number(const JsonObject& object, std::string_view key) {
    const std::string text = object.text(key);
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
        object.refuse("'" + std::string{key} + "' is no number");
    }
    return number;
}

uint32_t small_number(const JsonObject& object, std::string_view key) {
    const uint64_t number = object.number(key);
    if (number > UINT32_MAX) {
        object.refuse("'" + std::string{key} + "' is too large");
    }
    return static_cast<uint32_t>(number);
}

std::vector<fs::path> paths(const JsonObject& object, std::string_view key) {
    std::vector<fs::path> all;
    for (std::string& text : object.texts(key)) {
        all.emplace_back(std::move(text));
    }
    return all;
}

SharedMount::By way_from(const JsonObject& object) {
    const auto* const found = std::ranges::find(kWays, object.text("by"));
    if (found == kWays.end()) {
        object.refuse("'by' is no way to share");
    }
    return static_cast<SharedMount::By>(found - kWays.begin());
}

json::object to_json(const ContainerConfig& config) {
    json::array limits;
    for (const ProcessLimit& each : config.limits) {
        limits.push_back(
            json::object{{"resource", each.resource}, {"soft", wide(each.soft)}, {"hard", wide(each.hard)}});
    }
    json::array tmpfs;
    for (const TmpfsMount& each : config.tmpfs) {
        tmpfs.push_back(
            json::object{{"path", each.path}, {"flags", wide(each.flags)}, {"options", each.options}});
    }
    json::array shared;
    for (const SharedMount& each : config.shared) {
        shared.push_back(json::object{{"source", each.source},
                                      {"target", each.target},
                                      {"is_read_only", each.is_read_only},
                                      {"by", kWays.at(static_cast<size_t>(each.by))},
                                      {"is_filled", each.is_filled}});
    }
    json::array sockets;
    for (const SharedSocket& each : config.sockets) {
        sockets.push_back(
            json::object{{"source", each.source}, {"target", each.target}, {"mode", each.mode}});
    }
    json::array endpoints;
    for (const Endpoint& each : config.endpoints) {
        endpoints.push_back(endpoint_to_json(each));
    }
    json::object all{{"host_name", config.host_name},
                     {"command", array_of(config.command)},
                     {"environment", array_of(config.environment)},
                     {"user", config.user},
                     {"working_folder", config.working_folder},
                     {"tty", config.tty},
                     {"has_input", config.has_input},
                     {"has_init", config.has_init},
                     {"is_read_only", config.is_read_only},
                     {"no_new_privileges", config.no_new_privileges},
                     {"capabilities", wide(config.capabilities)},
                     {"limits", std::move(limits)},
                     {"tmpfs", std::move(tmpfs)},
                     {"shared", std::move(shared)},
                     {"sockets", std::move(sockets)},
                     {"shm_size", wide(config.shm_size)},
                     {"has_network", config.has_network},
                     {"endpoints", std::move(endpoints)},
                     {"extra_hosts", array_of(config.extra_hosts)},
                     {"has_names", config.has_names},
                     {"name_servers", array_of(config.name_servers)},
                     {"search_domains", array_of(config.search_domains)},
                     {"resolver_options", array_of(config.resolver_options)},
                     {"sysctls", array_of(config.sysctls)},
                     {"is_privileged", config.is_privileged},
                     {"rows", config.rows},
                     {"columns", config.columns}};
    for (auto& each : limits_to_json(config.group)) {
        all[each.key()] = std::move(each.value());
    }
    return all;
}

ContainerConfig config_from(const JsonObject& object) {
    ContainerConfig config{.host_name = object.text("host_name"),
                           .command = object.texts("command"),
                           .environment = object.texts("environment"),
                           .user = object.text("user"),
                           .working_folder = object.text("working_folder"),
                           .tty = object.flag("tty"),
                           .has_input = object.flag("has_input"),
                           .has_init = object.flag("has_init"),
                           .is_read_only = object.flag("is_read_only"),
                           .no_new_privileges = object.flag("no_new_privileges"),
                           .capabilities = wide_number(object, "capabilities"),
                           .limits = {},
                           .tmpfs = {},
                           .shared = {},
                           .sockets = {},
                           .shm_size = wide_number(object, "shm_size"),
                           .group = limits_from(object),
                           .has_network = object.flag("has_network"),
                           .endpoints = {},
                           .extra_hosts = object.texts("extra_hosts"),
                           .has_names = object.flag("has_names"),
                           .name_servers = object.texts("name_servers"),
                           .search_domains = object.texts("search_domains"),
                           .resolver_options = object.texts("resolver_options"),
                           .sysctls = object.texts("sysctls"),
                           .is_privileged = object.flag("is_privileged"),
                           .rows = static_cast<uint16_t>(small_number(object, "rows")),
                           .columns = static_cast<uint16_t>(small_number(object, "columns"))};
    if (config.command.empty()) {
        object.refuse("it has no command");
    }
    for (const JsonObject& each : object.objects("limits")) {
        config.limits.push_back(
            {small_number(each, "resource"), wide_number(each, "soft"), wide_number(each, "hard")});
    }
    for (const JsonObject& each : object.objects("tmpfs")) {
        config.tmpfs.push_back({each.text("path"), wide_number(each, "flags"), each.text("options")});
    }
    for (const JsonObject& each : object.objects("shared")) {
        config.shared.push_back({.source = each.text("source"),
                                 .target = each.text("target"),
                                 .is_read_only = each.flag("is_read_only"),
                                 .by = way_from(each),
                                 .is_filled = each.flag("is_filled")});
    }
    for (const JsonObject& each : object.objects("sockets")) {
        config.sockets.push_back({.source = each.text("source"),
                                  .target = each.text("target"),
                                  .mode = small_number(each, "mode")});
    }
    for (const JsonObject& each : object.objects("endpoints")) {
        config.endpoints.push_back(endpoint_from(each));
    }
    if (config.endpoints.size() > ContainerLink::kMost) {
        object.refuse("it has too many interfaces");
    }
    return config;
}

json::object to_json(const ContainerMachine& machine) {
    json::array layers;
    for (const fs::path& layer : machine.layers) {
        layers.emplace_back(layer.native());
    }
    return {{"kernel", machine.kernel.native()},
            {"initramfs", machine.initramfs.native()},
            {"layers", std::move(layers)},
            {"writable", machine.writable.native()},
            {"is_writable_kept", machine.is_writable_kept},
            {"cpus", machine.cpus},
            {"ports", array_of(machine.ports)},
            {"words", array_of(machine.words)}};
}

ContainerMachine machine_from(const JsonObject& object) {
    return {.kernel = object.text("kernel"),
            .initramfs = object.text("initramfs"),
            .layers = paths(object, "layers"),
            .writable = object.text("writable"),
            .is_writable_kept = object.flag("is_writable_kept"),
            .cpus = small_number(object, "cpus"),
            .ports = object.texts("ports"),
            .words = object.texts("words")};
}

int64_t nanoseconds(std::chrono::system_clock::time_point time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::chrono::system_clock::time_point time_from(const JsonObject& object, std::string_view key) {
    return std::chrono::system_clock::time_point{
        std::chrono::nanoseconds{static_cast<int64_t>(object.number(key))}};
}

}  // namespace

json::object limits_to_json(const GroupLimits& limits) {
    json::object all;
    if (limits.memory) {
        all["memory"] = wide(*limits.memory);
    }
    if (limits.kept_memory) {
        all["kept_memory"] = wide(*limits.kept_memory);
    }
    if (limits.cpus) {
        all["nano_cpus"] = std::llround(*limits.cpus * kNano);
    }
    if (limits.processes) {
        all["pids"] = *limits.processes;
    }
    return all;
}

GroupLimits limits_from(const JsonObject& object) {
    GroupLimits limits;
    if (object.has("memory")) {
        limits.memory = wide_number(object, "memory");
    }
    if (object.has("kept_memory")) {
        limits.kept_memory = wide_number(object, "kept_memory");
    }
    if (object.has("nano_cpus")) {
        limits.cpus = static_cast<double>(object.number("nano_cpus")) / kNano;
    }
    if (object.has("pids")) {
        limits.processes = small_number(object, "pids");
    }
    return limits;
}

json::object endpoint_to_json(const Endpoint& endpoint) {
    return {{"bridge", endpoint.bridge}, {"address", endpoint.address}, {"gateway", endpoint.gateway},
            {"prefix", endpoint.prefix}, {"mac", endpoint.mac},         {"is_way_out", endpoint.is_way_out}};
}

Endpoint endpoint_from(const JsonObject& object) {
    return {.bridge = object.text("bridge"),
            .address = small_number(object, "address"),
            .gateway = small_number(object, "gateway"),
            .prefix = small_number(object, "prefix"),
            .mac = object.text("mac"),
            .is_way_out = object.flag("is_way_out")};
}

json::object RunFile::to_json() const {
    json::object all{{"config", container::to_json(config)},
                     {"machine", container::to_json(machine)},
                     {"log", json::object{{"is_kept", log.is_kept},
                                          {"most_bytes", wide(log.most_bytes)},
                                          {"most_files", log.most_files}}},
                     {"input_ends_with_client", input_ends_with_client},
                     {"is_thrown_away", is_thrown_away},
                     {"is_open_afterwards", is_open_afterwards},
                     {"is_quiet", is_quiet}};
    if (health) {
        all["health"] = health->to_json();
    }
    return all;
}

RunFile RunFile::from_json(const json::object& object, const std::string& tried) {
    const JsonObject given{object, tried};
    const JsonObject log = given.object("log");
    RunFile file{.config = config_from(given.object("config")),
                 .machine = machine_from(given.object("machine")),
                 .log = {.is_kept = log.flag("is_kept"),
                         .most_bytes = wide_number(log, "most_bytes"),
                         .most_files = small_number(log, "most_files")},
                 .input_ends_with_client = given.flag("input_ends_with_client"),
                 .is_thrown_away = given.flag("is_thrown_away"),
                 .is_open_afterwards = given.flag("is_open_afterwards"),
                 .is_quiet = given.flag("is_quiet"),
                 .health = std::nullopt};
    if (given.has("health")) {
        file.health = HealthProbe::from_json(given.object("health"));
    }
    if (file.log.most_files == 0) {
        log.refuse("a log has no files");
    }
    return file;
}

void RunFile::write(const ContainerFiles& files) const {
    replace_file(files.run(), json::serialize(to_json()));
}

RunFile RunFile::read(const ContainerFiles& files) {
    const std::string tried = "cannot use '" + files.run().string() + "'";
    return from_json(parse_json_object(file_text(files.run()), tried), tried);
}

json::object RunState::to_object() const {
    json::object all{{"stage", kStages.at(static_cast<size_t>(stage))},
                     {"is_paused", is_paused},
                     {"supervisor", supervisor},
                     {"started", nanoseconds(started)},
                     {"finished", nanoseconds(finished)},
                     {"exit_status", exit_status},
                     {"is_out_of_memory", is_out_of_memory},
                     {"error", error}};
    if (health) {
        all["health"] = health->to_json();
    }
    return all;
}

std::string RunState::to_json() const {
    return json::serialize(to_object());
}

RunState RunState::from_json(const std::string& text) {
    return from_object(parse_json_object(text, "cannot use a container's state"));
}

RunState RunState::from_object(const json::object& object) {
    const std::string tried = "cannot use a container's state";
    const JsonObject given{object, tried};
    const std::string stage = given.text("stage");
    size_t number = 0;
    while (number < kStages.size() && kStages[number] != stage) {
        ++number;
    }
    if (number == kStages.size()) {
        given.refuse("there is no stage '" + stage + "'");
    }
    constexpr uint64_t kMost = 255;
    const uint64_t supervisor = given.number("supervisor");
    const uint64_t exit_status = given.number("exit_status");
    if (supervisor > INT32_MAX || exit_status > kMost) {
        given.refuse("a number is too large");
    }
    RunState state{.stage = static_cast<Stage>(number),
                   .is_paused = given.flag("is_paused"),
                   .supervisor = static_cast<int>(supervisor),
                   .started = time_from(given, "started"),
                   .finished = time_from(given, "finished"),
                   .exit_status = static_cast<int>(exit_status),
                   .is_out_of_memory = given.flag("is_out_of_memory"),
                   .error = given.text("error"),
                   .health = std::nullopt};
    if (given.has("health")) {
        state.health = Health::from_json(given.object("health"));
    }
    return state;
}

std::string time_text(std::chrono::system_clock::time_point time) {
    if (time == std::chrono::system_clock::time_point{}) {
        return "0001-01-01T00:00:00Z";
    }
    constexpr int64_t kSecond = 1'000'000'000;
    const int64_t all = nanoseconds(time);
    const int64_t part = (all % kSecond + kSecond) % kSecond;
    const time_t seconds = (all - part) / kSecond;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    std::array<char, 40> day{};
    std::array<char, 16> rest{};
    std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(rest.data(), rest.size(), ".%09dZ", static_cast<int>(part));
    return std::string{day.data()} + rest.data();
}

}  // namespace hull::container
