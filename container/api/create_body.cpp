#include "container/api/create_body.h"

#include <arpa/inet.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/api/create_limits.h"
#include "container/api/create_mounts.h"
#include "container/api/create_ports.h"
#include "container/api/json_shapes.h"
#include "container/api/network_body.h"
#include "container/api/signal_names.h"
#include "container/api/unsupported.h"
#include "container/image/config_change.h"
#include "container/image/json.h"
#include "guest/agent/protocol.h"

namespace hull::container {

namespace json = boost::json;

namespace {

const std::string kTried = "cannot create the container";

[[noreturn]] void refuse(const std::string& message) {
    throw ApiError{400, message};
}

/// A text of the client's, for a message.
std::string in_quotes(std::string_view text) {
    return "\"" + printable(text) + "\"";
}

const json::object& object_of(const json::value& body) {
    const json::object* const object = body.if_object();
    if (object == nullptr) {
        refuse("Config cannot be empty in order to create a container");
    }
    return *object;
}

/// A list of words, which may be one word: Docker's strslice.
std::optional<std::vector<std::string>> words(const json::object& object, const JsonObject& read,
                                              const char* key) {
    if (!read.has(key)) {
        return std::nullopt;
    }
    if (object.at(key).is_string()) {
        return std::vector{read.text(key)};
    }
    return read.texts(key);
}

bool is_address(const std::string& text) {
    in6_addr room{};
    return inet_pton(AF_INET, text.c_str(), &room) == 1 || inet_pton(AF_INET6, text.c_str(), &room) == 1;
}

bool is_made_of(std::string_view text, std::string_view further) {
    return std::ranges::all_of(text, [&](char each) {
        return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
               further.find(each) != std::string_view::npos;
    });
}

/// Of "10m", with units of powers of 1000, as Docker has them here; none where it is no such size.
std::optional<uint64_t> human_bytes(std::string_view text) {
    while (text.ends_with('b') || text.ends_with('B')) {
        text.remove_suffix(1);
    }
    constexpr std::string_view kUnits = "kmgt";
    uint64_t unit = 1;
    if (!text.empty()) {
        const size_t found = kUnits.find(static_cast<char>(text.back() | 0x20));
        for (size_t step = 0; found != std::string_view::npos && step <= found; ++step) {
            unit *= 1000;
        }
        text.remove_suffix(unit > 1 ? 1 : 0);
    }
    const auto number = decimal(text, UINT64_MAX / unit);
    return number ? std::optional{*number * unit} : std::nullopt;
}

/// What the agent is asked goes in frames of so many bytes at most.
void check_words(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
    constexpr size_t kForEach = 8;  // beside its text
    constexpr size_t kRest = 16384;
    size_t size = 0;
    for (const auto* list : {&command, &environment}) {
        for (const std::string& text : *list) {
            size += text.size() + kForEach + 1;
        }
    }
    if (size + kRest > agent::kMostRequest) {
        refuse("the command's arguments and variables are more than " +
               std::to_string((agent::kMostRequest - kRest) >> 10) + " KiB together");
    }
}

/// In dockerd's words.
void check_health(const HealthCheck& health) {
    const auto check = [](const char* name, std::chrono::nanoseconds time) {
        if (time != std::chrono::nanoseconds{0} && time < HealthProbe::kLeast) {
            refuse(std::string{name} + " in Healthcheck cannot be less than 1ms");
        }
    };
    check("Interval", health.interval);
    check("Timeout", health.timeout);
    if (health.retries < 0) {
        refuse("Retries in Healthcheck cannot be negative");
    }
    check("StartPeriod", health.start_period);
}

/// The row of steps from a body to a specification. What a step shows of the container goes into `config` and
/// `host`, beginning with what Docker has where nothing is said.
class CreateBody {
  public:
    CreateBody(const json::object& body, const StoredImage& image, const MountsOf& mounts_of)
        : body_{body}, host_body_{member_of(body)}, image_{image}, mounts_of_{mounts_of} {}

    ContainerSpec parse() {
        refuse_unsupported(body_, host_body_);
        take_process();
        take_names();
        take_network();
        exposed_ = read_.object("ExposedPorts").keys();
        for (const std::string& port : image_.config.exposed_ports) {
            if (std::ranges::find(exposed_, port) == exposed_.end()) {
                exposed_.push_back(port);
            }
        }
        spec_.ports = parse_ports(host_, exposed_, config_.has_network);
        parse_limits(host_, config_);
        take_rights();
        spec_.mounts = parse_mounts(read_, host_, image_.config.volumes, mounts_of_, config_.tmpfs);
        take_log();
        take_life();
        take_health();
        show();
        check_size();
        return std::move(spec_);
    }

  private:
    static const json::object& member_of(const json::object& body) {
        static const json::object none;
        const json::value* const host = body.if_contains("HostConfig");
        if (host == nullptr || host->is_null()) {
            return none;
        }
        if (!host->is_object()) {
            refuse("'HostConfig' is no object");
        }
        return host->get_object();
    }

    void take_process();
    void take_names();
    void take_network();
    void take_rights();
    void take_sysctls();
    void take_log();
    void take_life();
    void take_health();
    void show();
    void check_size() const;

    const json::object& body_;
    const json::object& host_body_;
    const StoredImage& image_;
    const MountsOf& mounts_of_;
    JsonObject read_{body_, kTried, ""};
    JsonObject host_{host_body_, kTried, ""};
    ContainerSpec spec_;
    ContainerConfig& config_ = spec_.run.config;
    std::vector<std::string> entrypoint_;   // as inspect shows them
    std::vector<std::string> command_;      //
    std::vector<std::string> environment_;  //
    std::vector<std::string> exposed_;      // "80/tcp"
    std::vector<std::string> shell_;        //
    std::optional<HealthCheck> health_;     //
    std::map<std::string, std::string> labels_;
};

void CreateBody::take_process() {
    config_.tty = read_.flag("Tty");
    config_.has_input = read_.flag("OpenStdin");
    config_.has_init = host_.flag("Init");
    spec_.run.input_ends_with_client = read_.flag("StdinOnce");
    config_.host_name = read_.text("Hostname");
    constexpr size_t kMostHostName = 63;
    if (config_.host_name.size() > kMostHostName || !is_made_of(config_.host_name, "-_.")) {
        refuse("invalid hostname format: " + printable(config_.host_name));
    }

    ImageOverrides overrides;
    overrides.entrypoint = words(body_, read_, "Entrypoint");
    overrides.command = words(body_, read_, "Cmd").value_or(std::vector<std::string>{});
    overrides.environment = read_.texts("Env");
    for (const std::string& variable : overrides.environment) {
        if (variable.empty() || variable.front() == '=') {
            refuse("invalid environment variable: " + printable(variable));
        }
    }
    check_words(overrides.command, overrides.environment);  // before they are compared with each other
    overrides.user = read_.text("User");
    overrides.working_folder = read_.text("WorkingDir");
    if (!overrides.working_folder.empty() && overrides.working_folder.front() != '/') {
        refuse("the working directory '" + printable(overrides.working_folder) +
               "' is invalid, it needs to be an absolute path");
    }
    try {
        apply_image(config_, image_.config, overrides);
    } catch (const Error&) {
        refuse("No command specified");
    }
    if (config_.command.front().empty()) {
        refuse("No command specified");  // but arguments
    }

    // What inspect shows is what was said, and not what follows from it.
    entrypoint_ = overrides.entrypoint.value_or(image_.config.entrypoint);
    if (entrypoint_.size() == 1 && entrypoint_.front().empty()) {
        entrypoint_.clear();
    }
    command_.assign(config_.command.begin() + static_cast<ptrdiff_t>(entrypoint_.size()),
                    config_.command.end());
    environment_ = std::move(overrides.environment);
    const auto name_of = [](std::string_view variable) { return variable.substr(0, variable.find('=')); };
    for (const std::string& variable : image_.config.environment) {
        if (std::ranges::find(environment_, name_of(variable), name_of) == environment_.end()) {
            environment_.push_back(variable);
        }
    }
    std::erase_if(environment_, [](const std::string& variable) {
        return variable.find('=') == std::string::npos;  // which only takes another away
    });

    if (host_.has("ConsoleSize")) {
        const json::array* const size = host_body_.at("ConsoleSize").if_array();
        constexpr size_t kNumbers = 2;
        constexpr int64_t kMost = 0xffff;
        const auto is_number = [](const json::value& value) {
            return value.is_int64() && value.get_int64() >= 0 && value.get_int64() <= kMost;
        };
        if (size == nullptr || size->size() != kNumbers || !std::ranges::all_of(*size, is_number)) {
            refuse("'ConsoleSize' is not two numbers, its rows and columns");
        }
        config_.rows = static_cast<uint16_t>(size->at(0).get_int64());
        config_.columns = static_cast<uint16_t>(size->at(1).get_int64());
    }
}

void CreateBody::take_names() {
    labels_ = read_.text_map("Labels");
    labels_.insert(image_.config.labels.begin(), image_.config.labels.end());
    for (const std::string& host : host_.texts("ExtraHosts")) {
        const size_t colon = host.find(':');
        std::string address = colon == std::string::npos ? "" : host.substr(colon + 1);
        if (address.starts_with('[') && address.ends_with(']')) {
            address = address.substr(1, address.size() - 2);
        }
        const std::string name = host.substr(0, colon);
        if (colon == std::string::npos || name.empty() || !is_made_of(name, "-_.")) {
            refuse("bad format for add-host: " + in_quotes(host));
        }
        if (address != ContainerConfig::kHostGateway && !is_address(address)) {
            refuse("invalid IP address in add-host: " + in_quotes(address));
        }
        config_.extra_hosts.push_back(std::move(address.append("\t").append(name)));
    }
    config_.name_servers = host_.texts("Dns");
    for (const std::string& server : config_.name_servers) {
        if (!is_address(server)) {
            refuse("invalid IP address in dns: " + in_quotes(server));
        }
    }
    config_.search_domains = host_.texts("DnsSearch");
    if (std::ranges::find(config_.search_domains, ".") != config_.search_domains.end()) {
        config_.search_domains = {"."};  // Docker's word for none at all, which the resolver knows, too
    }
    config_.resolver_options = host_.texts("DnsOptions");
    for (const auto* list : {&config_.search_domains, &config_.resolver_options}) {
        for (const std::string& word : *list) {
            if (word.empty() || !is_made_of(word, "-_.:")) {
                refuse("invalid word for the resolver: " + in_quotes(word));
            }
        }
    }
}

/// A network that is not there is told at the start, as by Docker.
void CreateBody::take_network() {
    const auto name_of = [](const std::string& said) {
        refuse_network(said);
        return said.empty() || said == "default" ? std::string{Network::kBridge} : said;
    };
    const std::string mode =
        read_.flag("NetworkDisabled") ? std::string{Network::kNone} : name_of(host_.text("NetworkMode"));
    config_.has_network = mode != Network::kNone;
    std::vector<Attachment>& all = spec_.networks;
    const JsonObject endpoints = read_.object("NetworkingConfig").object("EndpointsConfig");
    for (const std::string& key : endpoints.keys()) {
        Attachment found = parse_endpoint(name_of(key), endpoints.object(key));
        if (Network::is_predefined_name(found.name) && found.address) {
            refuse("user specified IP address is supported on user defined networks only");
        }
        if (Network::is_predefined_name(found.name) && !found.aliases.empty()) {
            refuse("network-scoped alias is supported only for containers in user defined networks");
        }
        if (found.name == Network::kBridge && !found.links.empty()) {
            throw ApiError{501, "links in the default network (--link) are not supported: make a network"};
        }
        if (std::ranges::find(all, found.name, &Attachment::name) == all.end()) {
            all.push_back(std::move(found));
        }
    }
    if (mode == Network::kBridge && !host_.texts("Links").empty()) {  // those of others are with the endpoint
        throw ApiError{501, "links in the default network (--link) are not supported: make a network"};
    }
    auto own = std::ranges::find(all, mode, &Attachment::name);
    if (own == all.end()) {
        own = all.insert(all.begin(), {.name = mode});
    }
    if (const std::string mac = read_.text("MacAddress"); !mac.empty()) {
        own->mac = parse_mac(mac);
    }
    if (all.size() > 1 && std::ranges::find(all, Network::kNone, &Attachment::name) != all.end()) {
        refuse(
            "container cannot be connected to multiple networks with one of the networks in private (none) "
            "mode");
    }
    if (all.size() > Attachment::kMost) {
        refuse("a container is in " + std::to_string(Attachment::kMost) + " networks at most");
    }
}

void CreateBody::take_sysctls() {
    for (const auto& [name, value] : host_.text_map("Sysctls")) {
        const bool is_path = !name.empty() && is_made_of(name, "-_./") && !name.starts_with('.') &&
                             !name.starts_with('/') && name.find("..") == std::string::npos &&
                             name.find("//") == std::string::npos;
        if (!is_path || value.find('\n') != std::string::npos) {
            refuse("sysctl '" + printable(name) + "' is not allowed");
        }
        std::string dotted = name;
        std::ranges::replace(dotted, '/', '.');
        if (dotted.starts_with("kernel.shm") || dotted.starts_with("kernel.msg") || dotted == "kernel.sem" ||
            dotted.starts_with("fs.mqueue.") || dotted == "kernel.hostname" ||
            dotted == "kernel.domainname") {
            throw ApiError{501, "sysctl '" + name +
                                    "' is of the container's own namespaces for IPC and names, in which none "
                                    "can be set"};
        }
        config_.sysctls.push_back(std::string{name}.append("=").append(value));
    }
}

void CreateBody::take_rights() {
    config_.is_read_only = host_.flag("ReadonlyRootfs");
    config_.is_privileged = host_.flag("Privileged");
    const auto capabilities = [&](const char* list) {
        const auto names = words(host_body_, host_, list).value_or(std::vector<std::string>{});
        for (const std::string& name : names) {
            if (!capability_bits(name)) {
                refuse(std::string{"invalid "} + list +
                       ": unknown capability: " + in_quotes(name.starts_with("CAP_") ? name : "CAP_" + name));
            }
        }
        return names;
    };
    config_.capabilities =
        change_capabilities(kDefaultCapabilities, capabilities("CapAdd"), capabilities("CapDrop"));
    if (config_.is_privileged) {
        config_.capabilities = change_capabilities(0, {"ALL"}, {});
    }
    for (const std::string& option : host_.texts("SecurityOpt")) {
        config_.no_new_privileges = asks_for_no_new_privileges(option).value_or(config_.no_new_privileges);
    }
    take_sysctls();
}

void CreateBody::take_log() {
    const JsonObject log = host_.object("LogConfig");
    const std::string driver = log.text("Type");
    if (!driver.empty() && driver != "json-file" && driver != "none") {
        refuse("error looking up logging plugin " + printable(driver) + ": plugin " + in_quotes(driver) +
               " not found");
    }
    spec_.run.log.is_kept = driver != "none";
    for (const auto& [name, value] : log.text_map("Config")) {
        if (name == "max-size") {
            spec_.run.log.most_bytes = human_bytes(value).value_or(0);
            if (spec_.run.log.most_bytes == 0) {
                refuse("max-size must be a positive number: " + in_quotes(value));
            }
        } else if (name == "max-file") {
            constexpr uint64_t kMost = 1000;
            const auto number = decimal(value, kMost);
            if (!number || *number == 0) {
                refuse("failed to initialize logging driver: max-file cannot be less than 1" +
                       std::string{number && *number == 0 ? "" : " or above 1000"});
            }
            spec_.run.log.most_files = static_cast<unsigned>(*number);
        } else {
            refuse("unknown log opt '" + printable(name) + "' for json-file log driver");
        }
    }
}

void CreateBody::take_life() {
    spec_.restart = parse_restart_policy(host_.object("RestartPolicy"));
    spec_.is_removed_at_end = spec_.run.is_thrown_away = host_.flag("AutoRemove");
    if (spec_.is_removed_at_end && spec_.restart.kind != RestartPolicy::Kind::no) {
        refuse("can't create 'AutoRemove' container with restart policy");
    }

    std::string signal = read_.text("StopSignal");
    if (signal.empty()) {
        signal = image_.config.stop_signal;
    }
    if (!signal.empty()) {
        const auto number = signal_number(signal);
        if (!number) {
            refuse("Invalid signal: " + printable(signal));
        }
        spec_.stop_signal = *number;
    }
    if (const auto timeout = read_.integer("StopTimeout")) {
        spec_.stop_timeout = std::chrono::seconds{std::clamp<int64_t>(*timeout, -1, INT32_MAX)};
    }
}

/// What the user says, and for what he does not say the image.
void CreateBody::take_health() {
    shell_ = read_.texts("Shell");
    if (shell_.empty()) {
        shell_ = image_.config.shell;
    }
    health_ = image_.config.health;
    if (read_.has("Healthcheck")) {
        const HealthCheck said = health_check_from(read_.object("Healthcheck"));
        check_health(said);
        const HealthCheck images = health_.value_or(HealthCheck{});
        const auto merged = [](auto given, auto usual) { return given == decltype(given){} ? usual : given; };
        health_ = {.test = merged(said.test, images.test),
                   .interval = merged(said.interval, images.interval),
                   .timeout = merged(said.timeout, images.timeout),
                   .start_period = merged(said.start_period, images.start_period),
                   .retries = merged(said.retries, images.retries)};
    }
    if (health_) {
        check_words(health_->test, config_.environment);
        spec_.run.health = HealthProbe::of(*health_, shell_);
    }
}

/// What inspect shows: every member that Docker has.
void CreateBody::show() {
    spec_.image = image_.id.text();
    spec_.image_name = read_.text("Image");
    json::object& config = spec_.config = default_config();
    config["Hostname"] = config_.host_name;
    config["User"] = config_.user;
    for (const char* flag : {"AttachStdin", "AttachStdout", "AttachStderr"}) {
        config[flag] = read_.flag(flag);
    }
    config["Tty"] = config_.tty;
    config["OpenStdin"] = config_.has_input;
    config["StdinOnce"] = spec_.run.input_ends_with_client;
    config["Env"] = array_of(environment_);
    config["Cmd"] = or_null(array_of(command_));
    config["Entrypoint"] = or_null(array_of(entrypoint_));
    config["Image"] = spec_.image_name;
    config["WorkingDir"] =
        read_.text("WorkingDir").empty() ? image_.config.working_folder : read_.text("WorkingDir");
    json::object labels;
    for (const auto& [key, value] : labels_) {
        labels[key] = value;
    }
    config["Labels"] = std::move(labels);
    if (!exposed_.empty()) {
        config["ExposedPorts"] = set_of(exposed_);
    }
    std::vector<std::string> volumes = read_.object("Volumes").keys();
    for (const std::string& volume : image_.config.volumes) {
        if (std::ranges::find(volumes, volume) == volumes.end()) {
            volumes.push_back(volume);
        }
    }
    config["Volumes"] = set_of(volumes);
    if (const std::string signal = read_.text("StopSignal");
        !signal.empty() || !image_.config.stop_signal.empty()) {
        config["StopSignal"] = signal.empty() ? image_.config.stop_signal : signal;
    }
    if (const auto timeout = read_.integer("StopTimeout")) {
        config["StopTimeout"] = *timeout;
    }
    if (const std::string mac = read_.text("MacAddress"); !mac.empty()) {
        config["MacAddress"] = mac;
    }
    if (health_) {
        config["Healthcheck"] = health_json(*health_);
    }
    if (!shell_.empty()) {
        config["Shell"] = array_of(shell_);
    }

    json::object& host = spec_.host_config = default_host_config();
    for (auto& member : host) {
        const json::value* const said = host_body_.if_contains(member.key());
        if (said != nullptr && !said->is_null()) {
            member.value() = *said;
        }
    }
    if (host_.has("Init")) {
        host["Init"] = config_.has_init;  // which is not shown where nobody says it
    }
    if (host_.text("NetworkMode").empty()) {
        host["NetworkMode"] = "default";
    }
    if (host_.text("IpcMode").empty()) {
        host["IpcMode"] = "private";
    }
    if (host_.integer("ShmSize").value_or(0) == 0) {
        host["ShmSize"] = config_.shm_size;
    }
    host["LogConfig"] = {{"Type", spec_.run.log.is_kept ? "json-file" : "none"}, {"Config", json::object{}}};
    if (const json::value* const log = host_body_.if_contains("LogConfig");
        log != nullptr && log->is_object()) {
        const json::value* const options = log->get_object().if_contains("Config");
        if (options != nullptr && options->is_object()) {
            host["LogConfig"].get_object()["Config"] = *options;
        }
    }
}

/// What the agent is asked goes in frames of so many bytes at most.
void CreateBody::check_size() const {
    constexpr size_t kForEach = 8;  // beside its text
    constexpr size_t kRest = 4096;
    check_words(config_.command, config_.environment);
    size_t names = config_.limits.size() * 4 * kForEach;
    for (const auto* list : {&config_.extra_hosts, &config_.name_servers, &config_.search_domains,
                             &config_.resolver_options, &config_.sysctls}) {
        for (const std::string& text : *list) {
            names += text.size() + kForEach * 2;
        }
    }
    for (const TmpfsMount& mount : config_.tmpfs) {
        constexpr size_t kMostPath = 4096;
        if (mount.path.size() >= kMostPath || mount.options.size() >= kMostPath) {
            refuse("a path or the options of a tmpfs are longer than 4095 bytes");
        }
        names += mount.path.size() + mount.options.size() + kForEach;
    }
    if (names + kRest > agent::kMostRequest || config_.user.size() >= kRest ||
        config_.working_folder.size() >= kRest) {
        refuse("the container's names and mounts are too long");
    }
}

}  // namespace

std::string image_named_by(const json::value& body) {
    try {
        std::string name = JsonObject{object_of(body), kTried, ""}.text("Image");
        if (name.empty()) {
            refuse("no image is named (Image)");
        }
        return name;
    } catch (const Error& error) {
        refuse(error.what());
    }
}

RestartPolicy parse_restart_policy(const JsonObject& policy) {
    const std::string name = policy.text("Name");
    const int64_t most = policy.integer("MaximumRetryCount").value_or(0);
    using Kind = RestartPolicy::Kind;
    const std::map<std::string, Kind> kinds{{"", Kind::no},
                                            {"no", Kind::no},
                                            {"always", Kind::always},
                                            {"unless-stopped", Kind::unless_stopped},
                                            {"on-failure", Kind::on_failure}};
    const auto kind = kinds.find(name);
    if (kind == kinds.end()) {
        refuse("invalid restart policy '" + printable(name) + "'");
    }
    if (most < 0 || most > INT32_MAX) {
        refuse("maximum retry count cannot be negative");
    }
    if (most != 0 && kind->second != Kind::on_failure) {
        refuse("maximum retry count cannot be used with restart policy '" + name + "'");
    }
    return {.kind = kind->second, .most = static_cast<unsigned>(most)};
}

ContainerSpec parse_create_body(const json::value& body, const StoredImage& image,
                                const MountsOf& mounts_of) {
    try {
        return CreateBody{object_of(body), image, mounts_of}.parse();
    } catch (const Error& error) {
        refuse(error.what());
    }
}

}  // namespace hull::container
