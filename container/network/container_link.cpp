#include "container/network/container_link.h"

#include "container/network/links.h"

namespace hull::container {

ContainerLink::ContainerLink(const std::string& id, const Endpoint& endpoint,
                             const std::vector<PublishedPort>& ports) {
    for (const PublishedPort& port : ports) {
        reserved_.push_back(port.take());
    }
    const std::string tap = "tap" + id;
    tap_ = make_tap(tap);
    firewall_.apply(container_rules("hull-" + id, tap, endpoint, ports));
    // Not before the rules are there, which lead every packet for the port away: nobody takes who connects
    // here.
    for (size_t index = 0; index < ports.size(); ++index) {
        ports[index].listen_at(reserved_[index]);
    }
    join_bridge(tap, endpoint.bridge);  // by then nothing unlawful can come from it
    net_word_ = "tap=" + tap + ",mac=" + mac_of(endpoint.address);
}

}  // namespace hull::container
