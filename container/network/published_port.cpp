#include "container/network/published_port.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace hull::container {

namespace {

constexpr std::string_view kUdp = "/udp";

std::optional<uint16_t> port_number(std::string_view text) {
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{port} : std::nullopt;
}

}  // namespace

PublishedPort PublishedPort::parse(const std::string& text) {
    std::string_view rest = text;
    PublishedPort port;
    if (rest.ends_with(kUdp)) {
        port.is_udp = true;
        rest.remove_suffix(kUdp.size());
    }
    const size_t guest = rest.rfind(':');
    const size_t host = guest == 0 || guest == std::string_view::npos ? guest : rest.rfind(':', guest - 1);
    if (guest != std::string_view::npos && host != std::string_view::npos && host > 0) {
        std::string_view ip = rest.substr(0, host);
        if (ip.front() == '[' && ip.back() == ']') {
            ip = ip.substr(1, ip.size() - 2);
        }
        const auto guest_port = port_number(rest.substr(guest + 1));
        const auto host_port = port_number(rest.substr(host + 1, guest - host - 1));
        const auto address = host_port ? SocketAddress::parse(std::string{ip}, *host_port) : std::nullopt;
        if (address && guest_port && *guest_port != 0) {
            port.host = *address;
            port.guest_port = *guest_port;
            return port;
        }
    }
    throw Error{ExitStatus::bad_file, "cannot publish a port", "'" + text + "' does not say which"};
}

std::string PublishedPort::text() const {
    const std::string ip = host.is_ipv6() ? "[" + host.ip() + "]" : host.ip();
    return ip + ":" + std::to_string(host.port()) + ":" + std::to_string(guest_port) +
           std::string{is_udp ? kUdp : ""};
}

UniqueFd PublishedPort::bound_socket() const {
    UniqueFd fd{socket(host.get()->sa_family, (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0)};
    const int on = 1;
    // As a server does, so that connections which are closing keep nobody away.
    if (!is_udp) {
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (host.is_ipv6()) {
        setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    return bind(fd.get(), host.get(), host.size()) == 0 ? std::move(fd) : UniqueFd{};
}

std::string PublishedPort::why_not_bound() const {
    const int error = errno;
    return "Bind for " + host.ip() + ":" + std::to_string(host.port()) +
           " failed: " + (error == EADDRINUSE ? "port is already allocated" : errno_text(error));
}

void PublishedPort::refuse() const {
    throw Error{ExitStatus::no_resources, "driver failed programming external connectivity", why_not_bound()};
}

UniqueFd PublishedPort::take() const {
    UniqueFd fd = bound_socket();
    if (!fd.valid()) {
        refuse();
    }
    return fd;
}

void PublishedPort::listen_at(const UniqueFd& socket) const {
    constexpr int kBacklog = 128;
    if (!is_udp && listen(socket.get(), kBacklog) != 0) {
        refuse();
    }
}

std::vector<PublishedPort> published_ports(const std::vector<std::string>& texts) {
    std::vector<PublishedPort> ports;
    std::ranges::transform(texts, std::back_inserter(ports), PublishedPort::parse);
    return ports;
}

bool has_ipv6() {
    const UniqueFd fd{socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const SocketAddress loopback = SocketAddress::parse("::1", 0).value();
    return bind(fd.get(), loopback.get(), loopback.size()) == 0;
}

}  // namespace hull::container
