#include "container/api/create_ports.h"

#include <algorithm>
#include <charconv>

#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/network/socket_address.h"

namespace hull::container {

namespace {

[[noreturn]] void refuse(const std::string& message) {
    throw ApiError{400, message};
}

/// A text of the client's, for a message.
std::string in_quotes(std::string_view text) {
    return "\"" + printable(text) + "\"";
}

/// "80/tcp", and where it is to be at the host; without a binding: anywhere.
PortBinding parse_port(const std::string& port, const JsonObject* binding) {
    constexpr uint64_t kMost = 0xffff;
    const size_t slash = port.find('/');
    const std::string protocol = slash == std::string::npos ? "tcp" : port.substr(slash + 1);
    const auto number = decimal(std::string_view{port}.substr(0, slash), kMost);
    if (!number || *number == 0) {
        refuse("invalid port specification: " + in_quotes(port));
    }
    if (protocol != "tcp" && protocol != "udp") {
        refuse("invalid port specification: " + in_quotes(port) + ": only tcp and udp are supported");
    }
    PortBinding result{.protocol = protocol,
                       .container_port = static_cast<uint16_t>(*number),
                       .host_address = {},
                       .host_port = 0};
    if (binding != nullptr) {
        result.host_address = binding->text("HostIp");
        if (!result.host_address.empty() && !SocketAddress::parse(result.host_address, 0)) {
            refuse("invalid port specification: the address " + in_quotes(result.host_address) +
                   " at the host is none");
        }
        const std::string host_port = binding->text("HostPort");
        const auto host_number = decimal(host_port.empty() ? "0" : host_port, kMost);
        if (!host_number) {
            refuse("invalid port specification: " + in_quotes(host_port) +
                   " at the host: it is not one number up to 65535 (ranges are not supported)");
        }
        result.host_port = static_cast<uint16_t>(*host_number);
    }
    return result;
}

}  // namespace

std::optional<uint64_t> decimal(std::string_view text, uint64_t most) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_number = error == std::errc{} && end == text.data() + text.size() && value <= most;
    return is_number ? std::optional{value} : std::nullopt;
}

std::vector<PortBinding> parse_ports(const JsonObject& host_config, std::vector<std::string>& exposed,
                                     bool has_network) {
    constexpr size_t kMostPorts = 1024;
    constexpr size_t kMostExposed = size_t{2} << 16;
    std::vector<PortBinding> ports;
    const JsonObject bindings = host_config.object("PortBindings");
    const std::vector<std::string> bound = bindings.keys();
    // Before they are compared with each other.
    if (bound.size() > kMostPorts || exposed.size() > kMostExposed) {
        refuse("more than 1024 ports are to be published, or more are exposed than there are");
    }
    for (const std::string& port : bound) {
        const std::vector<JsonObject> all = bindings.objects(port);
        for (const JsonObject& binding : all) {
            ports.push_back(parse_port(port, &binding));
        }
        if (all.empty()) {
            ports.push_back(parse_port(port, nullptr));
        }
        if (std::ranges::find(exposed, port) == exposed.end()) {
            exposed.push_back(port);
        }
    }
    if (!ports.empty() && !has_network) {
        refuse("conflicting options: port publishing and no network (--network none)");
    }
    const bool publishes_all = host_config.flag("PublishAllPorts") && has_network;
    for (const std::string& port : exposed) {
        const PortBinding anywhere = parse_port(port, nullptr);
        const bool is_bound = std::ranges::any_of(ports, [&](const PortBinding& each) {
            return each.container_port == anywhere.container_port && each.protocol == anywhere.protocol;
        });
        if (publishes_all && !is_bound) {
            ports.push_back(anywhere);
        }
        if (ports.size() > kMostPorts) {
            refuse("more than 1024 ports are to be published");
        }
    }
    return ports;
}

}  // namespace hull::container
