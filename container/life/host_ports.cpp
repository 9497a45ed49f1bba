#include "container/life/host_ports.h"

#include <cerrno>

#include "container/api/api_error.h"
#include "container/network/published_port.h"

namespace hull::container {

namespace {

/// Fewer than there are addresses, and errno says why at the next, where somebody has it.
std::vector<PortBinding> find_at(const std::vector<std::string>& addresses, PortBinding port) {
    std::vector<PortBinding> found;
    for (const std::string& address : addresses) {
        port.host_address = address;
        const PublishedPort wanted = PublishedPort::parse(port_word(port));
        const UniqueFd socket = wanted.bound_socket();
        if (!socket.valid()) {
            break;
        }
        const SocketAddress host = SocketAddress::of(socket.get());
        port.host_address = host.ip();
        port.host_port = host.port();
        found.push_back(port);
    }
    return found;
}

}  // namespace

std::vector<PortBinding> find_host_ports(const PortBinding& wanted, const std::string& container) {
    std::vector<std::string> addresses{wanted.host_address};
    if (wanted.host_address.empty()) {
        addresses = {"0.0.0.0"};
        if (has_ipv6()) {
            addresses.emplace_back("::");
        }
    }
    // A number by chance that is free at the first may be taken at the second.
    constexpr int kTries = 16;
    std::vector<PortBinding> found;
    for (int tries = wanted.host_port == 0 ? kTries : 1; tries > 0 && found.size() < addresses.size();
         --tries) {
        found = find_at(addresses, wanted);
    }
    if (found.size() < addresses.size()) {
        const int cause = errno;
        PortBinding taken = wanted;
        taken.host_address = addresses[found.size()];
        taken.host_port = found.empty() ? wanted.host_port : found.back().host_port;
        const PublishedPort port = PublishedPort::parse(port_word(taken));
        errno = cause;
        throw ApiError{500, "driver failed programming external connectivity on endpoint " + container +
                                ": " + port.why_not_bound()};
    }
    return found;
}

std::string port_word(const PortBinding& port) {
    const bool is_ipv6 = port.host_address.find(':') != std::string::npos;
    return (is_ipv6 ? "[" + port.host_address + "]" : port.host_address) + ":" +
           std::to_string(port.host_port) + ":" + std::to_string(port.container_port) +
           (port.protocol == "udp" ? "/udp" : "");
}

PortBinding port_of(const std::string& word) {
    const PublishedPort port = PublishedPort::parse(word);
    return {.protocol = port.is_udp ? "udp" : "tcp",
            .container_port = port.guest_port,
            .host_address = port.host.ip(),
            .host_port = port.host.port()};
}

}  // namespace hull::container
