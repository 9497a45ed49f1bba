// Of Containers: which networks they are in, and who finds whom there.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "container/image/json.h"
#include "container/life/container_entry.h"
#include "container/life/container_name.h"
#include "container/life/containers.h"
#include "container/life/host_ports.h"

namespace hull::container {

using Stage = ContainerView::Stage;

namespace {

/// Whether names are found in it, and aliases may be given.
bool is_users(const Attachment& attachment) {
    return !Network::is_predefined_name(attachment.name);
}

auto find_in(std::vector<Attachment>& all, const Network& network) {
    return std::ranges::find_if(all, [&](const Attachment& each) {
        return each.network.empty() ? each.name == network.spec.name : each.network == network.id;
    });
}

/// Docker's row, and that of interfaces.
void sort_by_name(std::vector<Attachment>& all) {
    std::ranges::stable_sort(all, {}, &Attachment::name);
}

/// As Docker has it, when a container is connected or starts, not when it is created: by that docker-compose
/// sees which it has still to give its names, and `docker-compose run` those that are to have none.
void add_short_id(Attachment& attachment, const std::string& id) {
    const std::string alias = short_id(id);
    if (is_users(attachment) && std::ranges::find(attachment.aliases, alias) == attachment.aliases.end()) {
        attachment.aliases.push_back(alias);
    }
}

/// The first by its name over which something is reached.
void choose_way_out(std::vector<Endpoint>& endpoints) {
    const auto out = std::ranges::find_if(endpoints, [](const Endpoint& each) { return each.gateway != 0; });
    if (out != endpoints.end()) {
        out->is_way_out = true;
    }
}

/// Not for ever: who reads it looks again, and a daemon that comes writes it anew.
void put_file(const std::filesystem::path& path, const std::string& text) {
    const std::filesystem::path beside = path.string() + ".new";
    const UniqueFd fd{open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!fd.valid() || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        std::rename(beside.c_str(), path.c_str()) != 0) {
        log_warning("cannot write '" + path.string() + "': " + errno_text(errno));
    }
}

}  // namespace

/// What a container is created with: a place in each network once, by the name that this has. One that is
/// not there is looked for at each start.
void Containers::settle_networks(std::vector<Attachment>& all, const ContainerSpec& spec) const {
    if (all.empty()) {
        all.push_back({.name = spec.run.config.has_network ? Network::kBridge : Network::kNone});
    }
    std::vector<Attachment> settled;
    for (Attachment& each : all) {
        if (const auto network = networks_.find_exactly(each.name)) {
            each.name = network->spec.name;
            each.network = network->id;
        }
        const bool is_there =
            std::ranges::any_of(settled, [&](const Attachment& other) { return other.name == each.name; });
        if (!is_there) {
            settled.push_back(std::move(each));
        }
    }
    sort_by_name(settled);
    all = std::move(settled);
}

/// What a supervisor that was found has been given.
void Containers::take_network_of_run(Container& container) {
    const RunFile run = RunFile::read(container.files);
    container.ports.clear();
    std::ranges::transform(run.machine.ports, std::back_inserter(container.ports), port_of);
    for (Attachment& each : container.networks) {
        const auto network = networks_.find_exactly(each.network.empty() ? each.name : each.network);
        const auto endpoint = std::ranges::find_if(run.config.endpoints, [&](const Endpoint& known) {
            return network && known.bridge == network->bridge;
        });
        if (endpoint != run.config.endpoints.end()) {
            add_short_id(each, container.id);
            each.endpoint = *endpoint;
            networks_.keep_place(network->id, container.id, endpoint->address);
        }
    }
}

/// Gives a container that is about to run its places. Throws ApiError and Error; leave_networks() then gives
/// back what it has got.
void Containers::enter_networks(Container& container, ContainerConfig& config) {
    std::vector<Attachment> all;
    {
        const std::lock_guard lock{mutex_};
        all = container.networks;
    }
    config.has_network = false;
    config.has_names = false;
    for (Attachment& each : all) {
        const std::string& wanted = is_users(each) && !each.network.empty() ? each.network : each.name;
        const auto network = networks_.find_exactly(wanted);
        if (!network) {
            throw ApiError{404, "network " + printable(wanted) + " not found"};
        }
        each.name = network->spec.name;
        each.network = network->id;
        add_short_id(each, container.id);
        if (network->driver == Network::Driver::none) {
            continue;
        }
        config.has_network = true;
        config.has_names |= is_users(each);
        if (is_users(each) || networks_.has_bridges()) {
            each.endpoint = networks_.take_place(network->id, container.id, each.address, each.mac);
            config.endpoints.push_back(*each.endpoint);
            const std::lock_guard lock{mutex_};
            *find_in(container.networks, *network) = each;  // so that it is given back, whatever comes
        }
    }
    choose_way_out(config.endpoints);
    {
        const std::lock_guard lock{mutex_};
        container.networks = std::move(all);
    }
    if (config.has_names) {
        write_names();
    }
}

/// Answers those that it has been in.
std::vector<Attachment> Containers::leave_networks(Container& container) {
    std::vector<Attachment> before;
    {
        const std::lock_guard lock{mutex_};
        before = container.networks;
        for (Attachment& each : container.networks) {
            each.endpoint.reset();
        }
    }
    bool had_names = false;
    for (const Attachment& each : before) {
        networks_.leave(each.network, container.id);
        had_names |= each.endpoint && is_users(each);
    }
    if (had_names) {
        write_names();
    }
    return before;
}

void Containers::tell_of_networks(const Container& container, const std::vector<Attachment>& networks,
                                  const std::string& action) {
    for (const Attachment& each : networks) {
        if (const auto network = networks_.find_exactly(each.network)) {
            networks_.tell(*network, action, container.id);
        }
    }
}

/// Of each container that runs: who shares one of its users' networks with it, as lines of addresses and
/// names.
void Containers::write_names() {
    struct Place {
        const Container* container;
        const Attachment* attachment;
    };
    const std::lock_guard writer{names_mutex_};
    std::vector<std::pair<std::filesystem::path, std::string>> changed;
    {
        const std::lock_guard lock{mutex_};
        std::map<std::string, std::vector<Place>> places;  // by network
        for (const auto& [id, container] : containers_) {
            for (const Attachment& each : container->networks) {
                if (each.endpoint && is_users(each)) {
                    places[each.network].push_back({container.get(), &each});
                }
            }
        }
        for (const auto& [id, container] : containers_) {
            std::string text;
            for (const Attachment& own : container->networks) {
                if (!own.endpoint || !is_users(own)) {
                    continue;
                }
                for (const Place& place : places[own.network]) {
                    const Container& other = *place.container;
                    text += address_text(place.attachment->endpoint->address) + " " + other.name + "." +
                            own.name + " " + other.name;
                    for (const std::string& alias : place.attachment->aliases) {
                        text += " " + alias;
                    }
                    for (const auto& [linked, alias] : own.links) {
                        const bool is_it = linked == other.name || other.id.starts_with(linked);
                        text += is_it ? " " + alias : "";
                    }
                    text += "\n";
                }
            }
            if (text != container->names) {
                container->names = text;
                changed.emplace_back(container->files.names(), std::move(text));
            }
        }
    }
    for (const auto& [path, text] : changed) {
        if (text.empty()) {
            unlink(path.c_str());
        } else {
            put_file(path, text);
        }
    }
}

/// Of those that go together, by Docker's rules and with its words.
void Containers::check_attachment(const Container& container, const Network& network,
                                  const Attachment& wanted) const {
    if (network.driver == Network::Driver::host) {
        throw ApiError{400,
                       "container sharing network namespace with another container or host cannot be "
                       "connected to any other network"};
    }
    if (network.is_predefined() && !wanted.aliases.empty()) {
        throw ApiError{400, "network-scoped alias is supported only for containers in user defined networks"};
    }
    if (wanted.address) {
        Networks::check_address(network, *wanted.address);
    }
    const bool has_none = network.driver == Network::Driver::none;
    for (const Attachment& each : container.networks) {
        if (has_none || each.name == Network::kNone) {
            throw ApiError{400,
                           "container cannot be connected to multiple networks with one of the networks in "
                           "private (none) mode"};
        }
    }
    if (container.networks.size() >= Attachment::kMost) {
        throw ApiError{400, "a container is in " + std::to_string(Attachment::kMost) + " networks at most"};
    }
}

/// Whether it runs. The caller has the container's `operation`. Throws ApiError where it is about to go.
bool Containers::is_running(const std::shared_ptr<Container>& container) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return !container->is_followed || container->stage != Stage::exited; });
    if (container->stage == Stage::removing || !containers_.contains(container->id)) {
        throw ApiError{409, "Container " + container->id +
                                " is marked for removal and cannot be connected or "
                                "disconnected to the network"};
    }
    return container->is_followed;
}

void Containers::connect(const std::string& name, const std::string& network, Attachment wanted) {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    const Network found = networks_.find(network);
    {
        const std::lock_guard lock{mutex_};
        if (find_in(container->networks, found) != container->networks.end()) {
            if (!container->is_followed) {
                return;
            }
            throw ApiError{403, "endpoint with name " + container->name + " already exists in network " +
                                    found.spec.name};
        }
        check_attachment(*container, found, wanted);
    }
    wanted.name = found.spec.name;
    wanted.network = found.id;
    add_short_id(wanted, container->id);
    const bool is_on = is_running(container);
    // First what is known of it, so that no daemon that comes gives its place to another.
    {
        const std::lock_guard lock{mutex_};
        container->networks.push_back(wanted);
        sort_by_name(container->networks);
    }
    write_record(*container);
    if (!is_on) {
        return;
    }
    try {
        plug(*container, found, wanted);
    } catch (...) {
        networks_.leave(found.id, container->id);
        {
            const std::lock_guard lock{mutex_};
            container->networks.erase(find_in(container->networks, found));
        }
        write_record(*container);
        throw;
    }
    write_names();
    networks_.tell(found, "connect", container->id);
}

/// Gives a container that runs its place in a network.
void Containers::plug(Container& container, const Network& network, const Attachment& wanted) {
    if (!networks_.has_bridges()) {
        throw ApiError{501,
                       "cannot connect a container while it runs, where there is only the user network; "
                       "stop it first"};
    }
    const RunFile before = RunFile::read(container.files);
    RunFile run = before;
    Endpoint endpoint = networks_.take_place(network.id, container.id, wanted.address, wanted.mac);
    endpoint.is_way_out = endpoint.gateway != 0 && run.config.way_out() == nullptr;
    std::vector<PortBinding> ports;
    {
        const std::lock_guard lock{mutex_};
        ports = container.ports;
    }
    boost::json::object question{
        {"do", "plug"}, {"endpoint", endpoint_to_json(endpoint)}, {"names", is_users(wanted)}};
    if (ports.empty() && endpoint.is_way_out) {
        for (const PortBinding& port : container.spec()->ports) {
            std::ranges::move(find_host_ports(port, container.name), std::back_inserter(ports));
        }
        run.machine.ports.clear();
        std::ranges::transform(ports, std::back_inserter(run.machine.ports), port_word);
        question["ports"] = array_of(run.machine.ports);
    }
    run.config.has_network = true;
    run.config.has_names |= is_users(wanted);
    run.config.endpoints.push_back(endpoint);
    run.write(container.files);
    if (const auto answer = ask(container.files, question); !is_done(answer)) {
        before.write(container.files);
        throw ApiError{500, answer ? text_in(*answer, "why") : "its supervisor does not answer"};
    }
    const std::lock_guard lock{mutex_};
    if (container.stage != Stage::running && container.stage != Stage::paused) {
        throw ApiError{409, "Container " + container.id + " has ended meanwhile"};
    }
    find_in(container.networks, network)->endpoint = endpoint;
    container.ports = std::move(ports);
}

void Containers::disconnect(const std::string& name, const std::string& network, bool is_forced) {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    std::optional<Network> found;
    try {
        found = networks_.find(network);
    } catch (const ApiError&) {
        if (!is_forced) {
            throw;
        }
    }
    const auto find = [&] {  // with mutex_
        return found ? find_in(container->networks, *found)
                     : std::ranges::find(container->networks, network, &Attachment::name);
    };
    std::optional<Endpoint> endpoint;
    {
        const std::lock_guard lock{mutex_};
        if (find() == container->networks.end()) {
            const char* const what = container->is_followed ? "network " : "the network ";  // as Docker's
            throw ApiError{500, "container " + container->id + " is not connected to " + what +
                                    (found ? found->spec.name : printable(network))};
        }
    }
    const bool is_on = is_running(container);
    {
        const std::lock_guard lock{mutex_};
        endpoint = find()->endpoint;
    }
    if (is_on && endpoint) {
        unplug(*container, *endpoint);
    } else if (is_on && found && found->driver == Network::Driver::bridge) {
        throw ApiError{501,
                       "cannot disconnect the container from the user network while it runs; stop it first"};
    }
    {
        const std::lock_guard lock{mutex_};
        container->networks.erase(find());
    }
    write_record(*container);
    if (found) {
        if (is_on) {
            networks_.leave(found->id, container->id);
            write_names();
        }
        networks_.tell(*found, "disconnect", container->id);
    }
}

/// The reverse of plug().
void Containers::unplug(Container& container, const Endpoint& endpoint) {
    RunFile run = RunFile::read(container.files);
    std::vector<Endpoint>& all = run.config.endpoints;
    std::erase_if(all, [&](const Endpoint& each) { return each.bridge == endpoint.bridge; });
    boost::json::object question{{"do", "unplug"}, {"bridge", endpoint.bridge}, {"way_out", ""}};
    if (run.config.way_out() == nullptr) {
        choose_way_out(all);
        if (const Endpoint* const out = run.config.way_out()) {
            question["way_out"] = out->bridge;
        }
    }
    if (const auto answer = ask(container.files, question); !is_done(answer)) {
        throw ApiError{500, answer ? text_in(*answer, "why") : "its supervisor does not answer"};
    }
    if (run.config.way_out() == nullptr) {
        run.machine.ports.clear();
    }
    run.write(container.files);
    if (run.machine.ports.empty()) {
        const std::lock_guard lock{mutex_};
        container.ports.clear();
    }
}

}  // namespace hull::container
