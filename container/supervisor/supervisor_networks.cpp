// Of the Supervisor: what of the host's networks its container has, and how that comes and goes while it
// runs.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "container/image/json.h"
#include "container/network/frame_relay.h"
#include "container/network/links.h"
#include "container/supervisor/supervisor.h"

namespace hull::container {

namespace json = boost::json;

namespace {

constexpr int kFailed = 128;

void log_error(const Error& error) {
    std::fprintf(stderr, "hull-supervisor: %s\n", error.what());
}

}  // namespace

/// Those that the machine is to have from its beginning. Answers what they are called on `hull boot`'s
/// command line.
std::vector<std::string> Supervisor::make_links() {
    published_ = published_ports(run_.machine.ports);
    const Endpoint* const out = run_.config.way_out();
    const PortWays ways = PortWays::of(published_, out);
    run_.machine.ports.clear();
    std::ranges::transform(ways.direct, std::back_inserter(run_.machine.ports), &PublishedPort::text);
    if (!ways.relayed.empty()) {
        relay_.emplace(ways.relayed);
    }
    std::vector<std::string> words;
    for (const Endpoint& endpoint : run_.config.endpoints) {
        const bool is_out = &endpoint == out;
        const size_t number = links_.size();
        const Link& link = links_.emplace_back(*firewall_, files_.folder.filename(), number, number, endpoint,
                                               is_out ? ways.direct : std::vector<PublishedPort>{});
        words.insert(words.end(), {"--net", link.link.net_word()});
    }
    machines_links_ = links_.size();
    return words;
}

Supervisor::Link* Supervisor::find_link(const std::string& bridge) {
    const auto found =
        std::ranges::find_if(links_, [&](const Link& each) { return each.link.endpoint().bridge == bridge; });
    return found == links_.end() ? nullptr : &*found;
}

/// Has the published ports lead to where the guest sends what is for elsewhere; nowhere where there is no
/// such way.
void Supervisor::lead_ports() {
    const Endpoint* const out = run_.config.way_out();
    Link* const link = out == nullptr ? nullptr : find_link(out->bridge);
    if (link != nullptr && link->link.has_ports()) {
        return;
    }
    relay_.reset();
    if (link == nullptr || published_.empty()) {
        return;
    }
    const PortWays ways = PortWays::of(published_, out);
    if (!ways.relayed.empty()) {
        relay_.emplace(ways.relayed);
        relay_->start();
    }
    link->link.publish(ways.direct);
}

/// Tells the guest of it, too.
void Supervisor::begin_names() {
    run_.config.has_names = true;
    serve_names();
    guest_->begin_names();
}

void Supervisor::serve_names() {
    names_.emplace(loop_, files_.names(), run_.config.name_servers, is_closed_in());
}

/// Whether its networks lead nowhere: names would be a way out, too.
bool Supervisor::is_closed_in() const {
    return run_.config.way_out() == nullptr;
}

void Supervisor::plug(const Asker& asker, const json::object& what) {
    const JsonObject asked{what, "cannot do what the daemon asks"};
    const Endpoint endpoint = endpoint_from(asked.object("endpoint"));
    const bool gets_names = asked.flag("names") && !names_;
    const std::vector<std::string> ports = asked.texts("ports");
    if (find_link(endpoint.bridge) != nullptr) {
        refuse(asker, "it is on that bridge already", kFailed);
        return;
    }
    const auto is_free = [&](auto Link::*member, size_t number) {
        return std::ranges::find(links_, number, member) == links_.end();
    };
    size_t number = machines_links_;  // whose devices are there for as long as the machine is
    while (!is_free(&Link::number, number)) {
        ++number;
    }
    size_t interface = 0;
    while (!is_free(&Link::interface, interface)) {
        ++interface;
    }
    if (number >= ContainerLink::kMost) {
        refuse(asker, "it has had " + std::to_string(number) + " networks: start it anew", kFailed);
        return;
    }
    if (!firewall_) {
        firewall_.emplace();
    }
    Link& link = links_.emplace_back(*firewall_, files_.folder.filename(), number, interface, endpoint,
                                     std::vector<PublishedPort>{});
    const auto numbers = ask_in_turn(2, [this, asker, endpoint, gets_names, ports](bool is_done) {
        if (!is_done || find_link(endpoint.bridge) == nullptr) {
            forget_link(endpoint.bridge);
            refuse(asker, "its guest cannot have another interface", kFailed);
            return;
        }
        run_.config.has_network = true;
        run_.config.endpoints.push_back(endpoint);
        try {
            if (!ports.empty()) {
                published_ = published_ports(ports);
            }
            lead_ports();
        } catch (const Error& error) {
            forget_link(endpoint.bridge);
            refuse(asker, error.what(), kFailed);
            return;
        }
        if (gets_names) {
            begin_names();
        } else if (names_) {
            names_->set_closed(is_closed_in());
        }
        guest_->write_hosts();
        answer(asker, {{"is", "done"}});
    });
    link.plug = numbers[0];
    guest_->plug(numbers[0], numbers[1], link.guest_name(), endpoint);
    guest_->read_proc(numbers[2], "uptime");
}

/// The connection of an interface that the agent has made.
void Supervisor::take_frames(uint32_t number, UniqueFd connection) {
    const auto found = std::ranges::find_if(
        links_, [&](const Link& each) { return each.plug == number && number != 0 && !each.frames; });
    if (found == links_.end()) {
        return;
    }
    try {
        found->frames.emplace(loop_, open_tap(found->link.tap()), std::move(connection));
    } catch (const Error& error) {
        log_error(error);
    }
}

void Supervisor::unplug(const Asker& asker, const json::object& what) {
    const JsonObject asked{what, "cannot do what the daemon asks"};
    const std::string bridge = asked.text("bridge");
    const std::string way_out = asked.text("way_out");
    const Link* const link = find_link(bridge);
    if (link == nullptr) {
        answer(asker, {{"is", "done"}});  // as where another daemon has asked, and was killed
        return;
    }
    const bool is_machines = link->plug == 0;
    const std::string interface = link->guest_name();
    const std::string tap = link->link.tap();
    forget_link(bridge);
    run_.config.has_network = !run_.config.endpoints.empty();
    if (is_machines) {
        leave_bridge(tap, bridge);  // the machine has it still
    }
    for (Endpoint& each : run_.config.endpoints) {
        each.is_way_out = each.is_way_out || each.bridge == way_out;
    }
    const Endpoint* const out = run_.config.way_out();
    const Link* const leads_out = out == nullptr ? nullptr : find_link(out->bridge);
    try {
        lead_ports();
    } catch (const Error& error) {
        log_error(error);
    }
    if (names_) {
        names_->set_closed(is_closed_in());
    }
    const auto numbers = ask_in_turn(2, [this, asker](bool is_done) {
        if (is_done) {
            answer(asker, {{"is", "done"}});
        } else {
            refuse(asker, "its guest keeps the interface, which leads nowhere", kFailed);
        }
    });
    if (is_machines) {
        guest_->unplug(numbers[0], interface);
    }
    if (leads_out != nullptr) {
        guest_->set_address(numbers[1], leads_out->guest_name(), *out);
    }
    guest_->write_hosts();
    guest_->read_proc(numbers[2], "uptime");
}

/// What the container has on the bridge, if anything.
void Supervisor::forget_link(const std::string& bridge) {
    std::erase_if(run_.config.endpoints, [&](const Endpoint& each) { return each.bridge == bridge; });
    links_.remove_if([&](const Link& each) { return each.link.endpoint().bridge == bridge; });
}

}  // namespace hull::container
