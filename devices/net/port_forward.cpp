#include "devices/net/port_forward.h"

#include <arpa/inet.h>

#include <charconv>
#include <string_view>

namespace hull::virtio {

namespace {

std::optional<uint16_t> parse_port(std::string_view text) {
    uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, port);
    return error == std::errc{} && rest == end && port != 0 ? std::optional{port} : std::nullopt;
}

}  // namespace

std::optional<PortForward> PortForward::parse(const std::string& text) {
    std::string_view rest = text;
    PortForward forward;
    if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
        const std::string_view protocol = rest.substr(slash + 1);
        if (protocol != "tcp" && protocol != "udp") {
            return std::nullopt;
        }
        forward.udp = protocol == "udp";
        rest = rest.substr(0, slash);
    }
    const size_t guest = rest.rfind(':');
    if (guest == std::string_view::npos) {
        return std::nullopt;
    }
    const size_t host = rest.rfind(':', guest - 1);
    const bool has_address = guest > 0 && host != std::string_view::npos;
    const std::string address{has_address ? rest.substr(0, host) : "127.0.0.1"};
    const size_t start = has_address ? host + 1 : 0;
    const auto host_port = parse_port(rest.substr(start, guest - start));
    const auto guest_port = parse_port(rest.substr(guest + 1));
    if (!host_port || !guest_port || inet_pton(AF_INET, address.c_str(), &forward.host_address) != 1) {
        return std::nullopt;
    }
    forward.host_port = *host_port;
    forward.guest_port = *guest_port;
    return forward;
}

std::string PortForward::text() const {
    char address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &host_address, address, sizeof address);
    return std::string{address} + ":" + std::to_string(host_port) + ":" + std::to_string(guest_port) +
           (udp ? "/udp" : "");
}

}  // namespace hull::virtio
