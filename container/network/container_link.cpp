#include "container/network/container_link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/error.h"
#include "container/network/links.h"
#include "vmm/machine/net_config.h"

namespace hull::container {

namespace {

[[noreturn]] void refuse(const virtio::PortForward& port) {
    throw Error{ExitStatus::no_resources, "driver failed programming external connectivity",
                "Bind for " + address_text(ntohl(port.host_address.s_addr)) + ":" +
                    std::to_string(port.host_port) +
                    " failed: " + (errno == EADDRINUSE ? "port is already allocated" : errno_text(errno))};
}

UniqueFd reserve(const virtio::PortForward& port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr = port.host_address;
    address.sin_port = htons(port.host_port);
    UniqueFd fd{socket(AF_INET, (port.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0)};
    const int on = 1;
    if (!port.udp) {
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        refuse(port);
    }
    return fd;
}

}  // namespace

ContainerLink::ContainerLink(const std::string& id, const Endpoint& endpoint,
                             const std::vector<std::string>& ports) {
    std::vector<virtio::PortForward> parsed;
    for (const std::string& word : ports) {
        parsed.push_back(virtio::PortForward::parse(word).value_or(virtio::PortForward{}));
        reserved_.push_back(reserve(parsed.back()));
    }
    const std::string tap = "tap" + id;
    tap_ = make_tap(tap);
    firewall_.apply(container_rules("hull-" + id, tap, endpoint, ports));
    // Who listens keeps all others off, who is only bound does not. Not before the rules are there, which
    // lead every packet for the port away: nobody takes who connects here.
    for (size_t index = 0; index < parsed.size(); ++index) {
        if (!parsed[index].udp && listen(reserved_[index].get(), 0) != 0) {
            refuse(parsed[index]);
        }
    }
    join_bridge(tap, endpoint.bridge);  // by then nothing unlawful can come from it
    net_word_ = "tap=" + tap + ",mac=" + mac_of(endpoint.address);
}

}  // namespace hull::container
