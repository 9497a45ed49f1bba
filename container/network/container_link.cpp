#include "container/network/container_link.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "container/network/flows.h"
#include "container/network/links.h"

namespace hull::container {

ContainerLink::ContainerLink(Firewall& firewall, const std::string& id, size_t number,
                             const Endpoint& endpoint, const std::vector<PublishedPort>& ports)
    : firewall_{firewall}, name_{"hull-" + id}, tap_name_{"tap" + id}, endpoint_{endpoint} {
    if (number > 0) {
        constexpr const char* kDigits = "0123456789abcdef";
        name_.append("-").append(std::to_string(number));
        tap_name_[1] = 'x';  // an interface's name has not room for more
        tap_name_[2] = kDigits[number];
    }
    tap_ = make_tap(tap_name_);
    set_rules("", ports);
    join_bridge(tap_name_, endpoint_.bridge);  // by then nothing unlawful can come from it
}

void ContainerLink::set_rules(const std::string& before, const std::vector<PublishedPort>& ports) {
    std::vector<UniqueFd> reserved;
    for (const PublishedPort& port : ports) {
        reserved.push_back(port.take());
    }
    firewall_.apply(before + container_rules(name_, tap_name_, endpoint_, ports));
    ports_ = ports;
    reserved_ = std::move(reserved);
    // Not before the rules are there, which lead every packet for the port away: nobody takes who connects
    // here.
    for (size_t index = 0; index < ports.size(); ++index) {
        ports[index].listen_at(reserved_[index]);
    }
    forget_flows();
}

void ContainerLink::publish(const std::vector<PublishedPort>& ports) {
    try {
        set_rules(no_container_rules(name_, ports_), ports);
    } catch (const Error&) {
        if (has_ports()) {
            set_rules(no_container_rules(name_, ports_), {});
        }
        throw;
    }
}

ContainerLink::~ContainerLink() {
    try {
        firewall_.apply(no_container_rules(name_, ports_));  // or the next datagram would have it remembered
    } catch (const Error& error) {
        log_warning(error.what());
    }
    forget_flows();
}

void ContainerLink::forget_flows() const {
    const bool has_udp = std::ranges::any_of(ports_, &PublishedPort::is_udp);
    if (has_udp && !container::forget_flows(endpoint_.address, ports_)) {
        log_warning(
            "who sends to published UDP ports all the time may be led to where they led before: the "
            "host's kernel does not list its connections (load the module nf_conntrack_netlink)");
    }
}

}  // namespace hull::container
