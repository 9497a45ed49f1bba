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
    : firewall_{firewall}, name_{"hull-" + id}, address_{endpoint.address}, ports_{ports} {
    for (const PublishedPort& port : ports) {
        reserved_.push_back(port.take());
    }
    std::string tap = "tap" + id;
    if (number > 0) {
        constexpr const char* kDigits = "0123456789abcdef";
        name_.append("-").append(std::to_string(number));
        tap[1] = 'x';  // an interface's name has not room for more
        tap[2] = kDigits[number];
    }
    tap_ = make_tap(tap);
    firewall_.apply(container_rules(name_, tap, endpoint, ports));
    // Not before the rules are there, which lead every packet for the port away: nobody takes who connects
    // here.
    for (size_t index = 0; index < ports.size(); ++index) {
        ports[index].listen_at(reserved_[index]);
    }
    forget_flows();
    join_bridge(tap, endpoint.bridge);  // by then nothing unlawful can come from it
    net_word_ = "tap=" + tap + ",mac=" + endpoint.mac;
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
    if (has_udp && !container::forget_flows(address_, ports_)) {
        log_warning(
            "who sends to published UDP ports all the time may be led to where they led before: the "
            "host's kernel does not list its connections (load the module nf_conntrack_netlink)");
    }
}

}  // namespace hull::container
