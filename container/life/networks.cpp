#include "container/life/networks.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/small_file.h"
#include "container/api/api_error.h"
#include "container/image/digest.h"
#include "container/image/json.h"
#include "container/life/container_name.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::nanoseconds;
using std::chrono::system_clock;
using Driver = Network::Driver;

namespace {

std::string value_of(const std::map<std::string, std::string>& options, const char* key) {
    const auto found = options.find(key);
    return found == options.end() ? "" : found->second;
}

std::string record_of(const Network& network) {
    std::map<std::string, std::string> reserved;
    for (const auto& [name, address] : network.spec.reserved) {
        reserved.emplace(name, address_text(address));
    }
    const NetworkSpec& spec = network.spec;
    return json::serialize(json::object{{"Id", network.id},
                                        {"Name", spec.name},
                                        {"Created", nanoseconds{network.created.time_since_epoch()}.count()},
                                        {"IsInternal", spec.is_internal},
                                        {"IsAttachable", spec.is_attachable},
                                        {"Subnet", network.subnet->text()},
                                        {"Gateway", address_text(network.gateway)},
                                        {"OwnSubnet", spec.subnet ? spec.subnet->text() : ""},
                                        {"OwnGateway", spec.gateway ? address_text(*spec.gateway) : ""},
                                        {"Range", spec.range ? spec.range->text() : ""},
                                        {"Reserved", members_of(reserved)},
                                        {"Labels", members_of(spec.labels)},
                                        {"Options", members_of(spec.options)},
                                        {"Bridge", network.bridge}});
}

/// Throws Error (bad_file).
Network network_from(const std::string& text, const std::string& tried) {
    const json::object object = parse_json_object(text, tried);
    const JsonObject read{object, tried};
    Network network;
    network.id = read.text("Id");
    network.created = system_clock::time_point{nanoseconds{static_cast<int64_t>(read.number("Created"))}};
    network.subnet = Subnet::parse(read.text("Subnet"));
    const auto gateway = parse_address(read.text("Gateway"));
    network.bridge = read.text("Bridge");
    NetworkSpec& spec = network.spec;
    spec = {.name = read.text("Name"),
            .is_internal = read.flag("IsInternal"),
            .is_attachable = read.flag("IsAttachable"),
            .subnet = Subnet::parse(read.text("OwnSubnet")),
            .gateway = parse_address(read.text("OwnGateway")),
            .range = Subnet::parse(read.text("Range")),
            .labels = read.text_map("Labels"),
            .options = read.text_map("Options")};
    for (const auto& [name, address] : read.text_map("Reserved")) {
        spec.reserved.emplace(name, parse_address(address).value_or(0));
    }
    if (network.id.size() != 64 || spec.name.empty() || network.bridge.empty() || !network.subnet ||
        !gateway) {
        read.refuse("its id, its name or its addresses are none");
    }
    network.gateway = *gateway;
    return network;
}

void check_interface(const std::string& name) {
    constexpr size_t kMost = 15;
    if (!is_name(name) || name.size() > kMost) {
        throw ApiError{400, "invalid interface name '" + printable(name) + "' (" + Network::kInterface +
                                "): it is to have 2 to 15 of [a-zA-Z0-9_.-]"};
    }
}

/// What the driver is to do that Hull's does not.
void check_options(const std::map<std::string, std::string>& options) {
    constexpr std::array<std::pair<const char*, const char*>, 5> kAsItIs{
        {{"com.docker.network.bridge.enable_icc", "true"},
         {"com.docker.network.bridge.enable_ip_masquerade", "true"},
         {"com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"},
         {"com.docker.network.bridge.default_bridge", "false"},
         {"com.docker.network.driver.mtu", "1500"}}};
    for (const auto& [key, only] : kAsItIs) {
        const std::string value = value_of(options, key);
        if (!value.empty() && value != only) {
            throw ApiError{
                501, std::string{"the option "} + key + " of a network is supported as '" + only + "' only"};
        }
    }
    if (options.contains(Network::kInterface)) {
        check_interface(options.at(Network::kInterface));
    }
}

void check_addresses(const NetworkSpec& spec) {
    if (!spec.subnet) {
        if (spec.gateway || spec.range || !spec.reserved.empty()) {
            throw ApiError{400,
                           "a network's gateway and its addresses are those of a subnet, and none is given"};
        }
        return;
    }
    const Subnet& subnet = *spec.subnet;
    constexpr uint32_t kLongest = 30;  // one address beside the gateway's
    if (subnet.prefix > kLongest) {
        throw ApiError{400, "the subnet " + subnet.text() + " has no room: give one of /30 or less"};
    }
    const auto is_in = [&](uint32_t address) { return subnet.has(address) && address != subnet.first; };
    if (spec.gateway && !is_in(*spec.gateway)) {
        throw ApiError{400, "no matching subnet for gateway " + address_text(*spec.gateway)};
    }
    if (spec.range && (!subnet.has(spec.range->first) || spec.range->prefix < subnet.prefix)) {
        throw ApiError{400, "no matching subnet for range " + spec.range->text()};
    }
    for (const auto& [name, address] : spec.reserved) {
        if (!is_in(address)) {
            throw ApiError{400, "no matching subnet for aux-address " + address_text(address)};
        }
    }
}

}  // namespace

std::string Network::driver_word() const {
    return driver == Driver::none ? "null" : driver == Driver::host ? "host" : "bridge";
}

bool Network::is_predefined_name(const std::string& name) {
    return name == kBridge || name == kHost || name == kNone;
}

bool Network::is_predefined() const {
    return is_predefined_name(spec.name);
}

Networks::Networks(const fs::path& root, Events& events, std::unique_ptr<Bridges> bridges)
    : root_{root / "networks"}, events_{events}, bridges_{std::move(bridges)} {
    if (bridges_) {
        try {
            bridges_->require();
        } catch (const Error& error) {
            log_warning("containers get the user network, and no addresses of their own: " +
                        std::string{error.what()});
            bridges_.reset();
        }
    }
    std::error_code ignored;
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator{root_, ignored}) {
        files.push_back(entry.path());
    }
    for (const fs::path& file : files) {
        load(file);
    }
    add_predefined();
    for (auto& [id, entry] : networks_) {
        try {
            make_bridge(entry);
        } catch (const Error& error) {
            log_warning("the network '" + entry.network.spec.name + "' has no bridge: " + error.what());
        }
    }
}

void Networks::load(const fs::path& file) {
    if (file.extension() != ".json") {
        return;  // of one that was about to be written
    }
    try {
        Network network = network_from(file_text(file), "cannot use '" + file.string() + "'");
        networks_[network.id].network = network;
    } catch (const Error& error) {
        log_warning("a network is left out: " + std::string{error.what()});
    }
}

/// Their ids follow from the folder of data, so that they stay what they are.
void Networks::add_predefined() {
    for (const auto& [name, driver] : {std::pair{Network::kBridge, Driver::bridge},
                                       {Network::kHost, Driver::host},
                                       {Network::kNone, Driver::none}}) {
        const std::string text = root_.string() + "/" + name;
        Network network{.id = Digest::of(std::as_bytes(std::span{text})).digits(), .driver = driver};
        network.spec.name = name;
        network.created = system_clock::now();
        if (driver == Driver::bridge && bridges_) {
            const auto lock = bridges_->choose();
            network.bridge = bridge_name(root_.parent_path());
            network.subnet = bridges_->subnet_of(network.bridge);
            try {
                choose_addresses(network);
                Entry entry{.network = network};
                make_bridge(entry);
                networks_[network.id] = std::move(entry);
                continue;
            } catch (const std::exception& error) {
                log_warning("containers get the user network, and no addresses of their own: " +
                            std::string{error.what()});
                bridges_.reset();
                network.subnet.reset();
                network.bridge.clear();
            }
        }
        networks_[network.id].network = std::move(network);
    }
}

/// Where the network has none yet.
void Networks::make_bridge(Entry& entry) const {
    const Network& network = entry.network;
    if (entry.bridge || network.driver != Driver::bridge || !bridges_) {
        return;
    }
    const bool is_default = network.spec.name == Network::kBridge;
    entry.bridge = bridges_->make({.name = network.bridge,
                                   .table = is_default ? network.bridge : "br-" + short_id(network.id),
                                   .subnet = network.subnet.value(),
                                   .gateway = network.gateway,
                                   .is_internal = network.spec.is_internal});
}

/// Of the network's subnet, where it has one, or one that is free.
void Networks::choose_addresses(Network& network) const {
    std::vector<Subnet> taken;
    for (const auto& [id, entry] : networks_) {
        if (entry.network.subnet) {
            taken.push_back(*entry.network.subnet);
        }
    }
    if (!network.subnet) {
        network.subnet = free_subnet(bridges_->routes(), taken);
    } else if (std::ranges::any_of(taken,
                                   [&](const Subnet& each) { return each.overlaps(*network.subnet); })) {
        throw ApiError{403, "Pool overlaps with other one on this address space"};
    }
    if (!network.subnet) {
        throw ApiError{404,
                       "could not find an available, non-overlapping IPv4 address pool among the defaults to "
                       "assign to the network"};
    }
    std::set<uint32_t> reserved;
    for (const auto& [name, address] : network.spec.reserved) {
        reserved.insert(address);
    }
    const auto gateway =
        network.spec.gateway
            ? network.spec.gateway
            : free_address(*network.subnet, network.spec.range.value_or(*network.subnet), reserved);
    if (!gateway || reserved.contains(*gateway)) {
        throw ApiError{403, "failed to allocate gateway (" + (gateway ? address_text(*gateway) : "") +
                                "): Address already in use"};
    }
    network.gateway = *gateway;
}

const Networks::Entry* Networks::look_up(const std::string& name, bool takes_beginning) const {
    if (const auto found = networks_.find(name); found != networks_.end()) {
        return &found->second;
    }
    const Entry* match = nullptr;
    bool is_ambiguous = false;
    for (const auto& [id, entry] : networks_) {
        if (entry.network.spec.name == name) {
            return &entry;
        }
        if (takes_beginning && !name.empty() && id.starts_with(name)) {
            is_ambiguous = match != nullptr;
            match = &entry;
        }
    }
    if (is_ambiguous) {
        throw ApiError{400,
                       "network " + printable(name) + " is ambiguous (2 matches found based on ID prefix)"};
    }
    return match;
}

const Networks::Entry& Networks::known(const std::string& name) const {
    const Entry* const found = look_up(name, true);
    if (found == nullptr) {
        throw ApiError{404, "network " + printable(name) + " not found"};
    }
    return *found;
}

Networks::Entry& Networks::entry_of(const std::string& id) {
    const auto found = networks_.find(id);
    if (found == networks_.end()) {
        throw ApiError{404, "network " + printable(id) + " not found"};
    }
    return found->second;
}

Network Networks::find(const std::string& name) const {
    const std::lock_guard lock{mutex_};
    return known(name).network;
}

std::optional<Network> Networks::find_exactly(const std::string& name) const {
    const std::lock_guard lock{mutex_};
    const Entry* const found = look_up(name, false);
    return found == nullptr ? std::nullopt : std::optional{found->network};
}

std::vector<Network> Networks::list() const {
    std::vector<Network> all;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, entry] : networks_) {
            all.push_back(entry.network);
        }
    }
    std::ranges::sort(all, {}, [](const Network& each) { return each.spec.name; });
    return all;
}

fs::path Networks::file_of(const Network& network) const {
    return root_ / (short_id(network.id) + ".json");
}

Network Networks::create(const NetworkSpec& wanted) {
    constexpr size_t kMostName = 128;
    const std::string& name = wanted.name;
    if (Network::is_predefined_name(name) || name == "default") {
        throw ApiError{403, "operation is not permitted on predefined " + name + " network"};
    }
    if (name.size() > kMostName || !is_name(name.size() == 1 ? name + name : name)) {
        throw ApiError{400, "invalid network name '" + printable(name) +
                                "': it is to have up to 128 of [a-zA-Z0-9][a-zA-Z0-9_.-]"};
    }
    check_options(wanted.options);
    check_addresses(wanted);
    if (!bridges_) {
        throw ApiError{501, "cannot make the network " + name +
                                ": networks need bridges of the host's, and this daemon has none (it runs "
                                "without root's rights, or with --no-bridge)"};
    }
    Entry entry;
    {
        const std::lock_guard lock{mutex_};
        if (look_up(name, false) != nullptr) {
            throw ApiError{409, "network with name " + name + " already exists"};
        }
        const auto choice = bridges_->choose();
        Network& network = entry.network;
        network.id = make_id();
        network.created = system_clock::now();
        network.spec = wanted;
        network.subnet = wanted.subnet;
        choose_addresses(network);
        network.bridge = value_of(wanted.options, Network::kInterface);
        if (!network.bridge.empty() && bridges_->has(network.bridge)) {
            throw ApiError{403, "cannot make the network " + name + ": the host has an interface '" +
                                    network.bridge + "' already"};
        }
        if (network.bridge.empty()) {
            network.bridge = "br-" + short_id(network.id);
        }
        constexpr mode_t kMode = 0700;
        if (mkdir(root_.c_str(), kMode) != 0 && errno != EEXIST) {
            throw Error{ExitStatus::no_resources, "cannot make the folder '" + root_.string() + "'",
                        errno_text(errno), "make room, and check who may write there"};
        }
        // The record first: a bridge without one would be nobody's.
        replace_file(file_of(network), record_of(network));
        try {
            make_bridge(entry);
        } catch (...) {
            unlink(file_of(network).c_str());
            throw;
        }
        networks_[network.id] = entry;
    }
    tell(entry.network, "create");
    return entry.network;
}

void Networks::remove(const std::string& name) {
    Network gone;
    {
        const std::lock_guard lock{mutex_};
        gone = known(name).network;
        Entry& entry = entry_of(gone.id);
        if (gone.is_predefined()) {
            throw ApiError{403, gone.spec.name + " is a pre-defined network and cannot be removed"};
        }
        if (!entry.places.empty()) {
            throw ApiError{403, "error while removing network: network " + gone.spec.name + " id " + gone.id +
                                    " has active endpoints"};
        }
        networks_.erase(gone.id);  // and its bridge
        unlink(file_of(gone).c_str());
    }
    tell(gone, "destroy");
}

void Networks::check_address(const Network& network, uint32_t address) {
    if (network.is_predefined()) {
        throw ApiError{400, "user specified IP address is supported on user defined networks only"};
    }
    if (!network.spec.subnet) {
        throw ApiError{400,
                       "user specified IP address is supported only when connecting to networks with user "
                       "configured subnets"};
    }
    if (!network.subnet->has(address)) {
        throw ApiError{400, "Invalid address " + address_text(address) +
                                ": It does not belong to any of this network's subnets"};
    }
}

Endpoint Networks::take_place(const std::string& network, const std::string& container,
                              std::optional<uint32_t> address, const std::string& mac) {
    const std::lock_guard lock{mutex_};
    Entry& entry = entry_of(network);
    const Network& known = entry.network;
    if (!bridges_ || !known.subnet) {
        throw Error{ExitStatus::no_resources,
                    "cannot attach a container to the network '" + known.spec.name + "'",
                    "this daemon has no bridges", "start it with root's rights, and without --no-bridge"};
    }
    const Subnet subnet = *known.subnet;
    make_bridge(entry);  // where that could not be done before
    try {
        bridges_->pass_docker(known.bridge);
    } catch (const Error& error) {
        log_warning(error.what());
    }
    std::set<uint32_t> taken{known.gateway, subnet.first, subnet.last()};
    for (const auto& [name, reserved] : known.spec.reserved) {
        taken.insert(reserved);
    }
    for (const auto& [id, place] : entry.places) {
        taken.insert(place);
    }
    if (address) {
        check_address(known, *address);
        if (taken.contains(*address)) {
            throw ApiError{403, "Address already in use"};
        }
    } else {
        address = free_address(subnet, known.spec.range.value_or(subnet), taken);
    }
    if (!address) {
        throw ApiError{403, "no available IPv4 addresses on this network's address pools: " +
                                known.spec.name + " (" + known.id + ")"};
    }
    entry.places[container] = *address;
    return {.bridge = known.bridge,
            .address = *address,
            .gateway = known.spec.is_internal ? 0 : known.gateway,
            .prefix = subnet.prefix,
            .mac = mac.empty() ? mac_of(*address) : mac};
}

void Networks::keep_place(const std::string& network, const std::string& container, uint32_t address) {
    const std::lock_guard lock{mutex_};
    entry_of(network).places[container] = address;
}

void Networks::leave(const std::string& network, const std::string& container) {
    const std::lock_guard lock{mutex_};
    if (const auto found = networks_.find(network); found != networks_.end()) {
        found->second.places.erase(container);
    }
}

void Networks::tell(const Network& network, const std::string& action, const std::string& container) {
    std::map<std::string, std::string> attributes{{"name", network.spec.name},
                                                  {"type", network.driver_word()}};
    if (!container.empty()) {
        attributes.emplace("container", container);
    }
    events_.tell({.type = "network",
                  .action = action,
                  .id = network.id,
                  .attributes = std::move(attributes),
                  .time = system_clock::now()});
}

}  // namespace hull::container
