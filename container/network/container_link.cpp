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

UniqueFd reserve(const std::string& word) {
    const virtio::PortForward port = virtio::PortForward::parse(word).value_or(virtio::PortForward{});
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr = port.host_address;
    address.sin_port = htons(port.host_port);
    UniqueFd fd{socket(AF_INET, (port.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0)};
    const int on = 1;
    if (!port.udp) {
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    // Who listens keeps all others off, who is only bound does not. Nobody gets here: packets for the port
    // are on their way to the container before.
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        (!port.udp && listen(fd.get(), 0) != 0)) {
        throw Error{ExitStatus::no_resources, "driver failed programming external connectivity",
                    "Bind for " + address_text(ntohl(port.host_address.s_addr)) + ":" +
                        std::to_string(port.host_port) + " failed: " +
                        (errno == EADDRINUSE ? "port is already allocated" : errno_text(errno))};
    }
    return fd;
}

}  // namespace

ContainerLink::ContainerLink(const std::string& id, const Endpoint& endpoint,
                             const std::vector<std::string>& ports) {
    for (const std::string& port : ports) {
        reserved_.push_back(reserve(port));
    }
    const std::string tap = "tap" + id;
    tap_ = make_tap(tap);
    firewall_.apply(container_rules("hull-" + id, tap, endpoint, ports));
    join_bridge(tap, endpoint.bridge);  // by then nothing unlawful can come from it
    net_word_ = "tap=" + tap + ",mac=" + mac_of(endpoint.address);
}

}  // namespace hull::container
