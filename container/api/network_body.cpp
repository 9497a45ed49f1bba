#include "container/api/network_body.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/api_error.h"

namespace hull::container {

namespace json = boost::json;

namespace {

[[noreturn]] void refuse(const std::string& message) {
    throw ApiError{400, message};
}

const json::object& object_of(const json::value& body, const std::string& tried) {
    if (!body.is_object()) {
        refuse(tried + ": its description is no object");
    }
    return body.get_object();
}

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// As it is written into a file of names.
std::string host_name(const std::string& text, const char* what) {
    constexpr size_t kMost = 253;
    const bool is_one = !text.empty() && text.size() <= kMost && std::ranges::all_of(text, [](char c) {
        return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.';
    });
    if (!is_one) {
        refuse(std::string{"invalid "} + what + " '" + printable(text) +
               "': it is to have up to 253 of [a-zA-Z0-9_.-]");
    }
    return text;
}

Subnet subnet_of(const std::string& text, const char* what) {
    if (text.find(':') != std::string::npos) {
        throw ApiError{501, "IPv6 in networks is not supported: containers have IPv4"};
    }
    const auto subnet = Subnet::parse(text);
    if (!subnet) {
        refuse(std::string{"invalid "} + what + ": invalid CIDR address: " + printable(text));
    }
    return *subnet;
}

uint32_t address_of(const std::string& text, const char* what) {
    const auto address = parse_address(text);
    if (!address) {
        refuse(std::string{"invalid "} + what + " address: " + printable(text));
    }
    return *address;
}

void check_driver(const std::string& driver) {
    if (driver.empty() || driver == "bridge" || driver == "default") {
        return;
    }
    if (driver == "host" || driver == "null") {
        throw ApiError{403, "only one instance of \"" + driver + "\" network is allowed"};
    }
    if (driver == "overlay" || driver == "macvlan" || driver == "ipvlan") {
        throw ApiError{501,
                       "networks of the driver '" + driver + "' are not supported: those of 'bridge' are"};
    }
    throw ApiError{404, "plugin \"" + printable(driver) + "\" not found"};
}

void take_addresses(NetworkSpec& spec, const JsonObject& ipam) {
    const std::string driver = ipam.text("Driver");
    if (!driver.empty() && driver != "default") {
        throw ApiError{404, "plugin \"" + printable(driver) + "\" not found"};
    }
    if (!ipam.text_map("Options").empty()) {
        throw ApiError{501, "options of the addresses' driver (--ipam-opt) are not supported"};
    }
    const std::vector<JsonObject> all = ipam.objects("Config");
    if (all.size() > 1) {
        throw ApiError{501, "a network of several subnets is not supported: give one (--subnet)"};
    }
    for (const JsonObject& config : all) {
        if (const std::string text = config.text("Subnet"); !text.empty()) {
            spec.subnet = subnet_of(text, "subnet");
        }
        if (const std::string text = config.text("IPRange"); !text.empty()) {
            spec.range = subnet_of(text, "ip-range");
        }
        if (const std::string text = config.text("Gateway"); !text.empty()) {
            spec.gateway = address_of(text, "gateway");
        }
        const char* const reserved =
            config.has("AuxiliaryAddresses") ? "AuxiliaryAddresses" : "AuxAddress";  // of old
        for (const auto& [name, text] : config.text_map(reserved)) {
            spec.reserved.emplace(name, address_of(text, "aux"));
        }
    }
}

/// Errors of a body's form are its client's.
template <class Parse>
auto parse_body(const json::value& body, const std::string& tried, const Parse& parse) {
    try {
        return parse(JsonObject{object_of(body, tried), tried, ""});
    } catch (const Error& error) {
        refuse(error.what());
    }
}

}  // namespace

NetworkSpec parse_network_body(const json::value& body) {
    return parse_body(body, "cannot create the network", [](const JsonObject& read) {
        NetworkSpec spec{.name = read.text("Name"),
                         .is_internal = read.flag("Internal"),
                         .is_attachable = read.flag("Attachable"),
                         .labels = read.text_map("Labels"),
                         .options = read.text_map("Options")};
        check_driver(read.text("Driver"));
        if (const std::string scope = read.text("Scope"); !scope.empty() && scope != "local") {
            throw ApiError{501, "networks of several hosts (--scope) are not supported"};
        }
        if (read.flag("EnableIPv6")) {
            throw ApiError{501, "IPv6 in networks is not supported: containers have IPv4"};
        }
        if (read.flag("Ingress") || read.flag("ConfigOnly") ||
            !read.object("ConfigFrom").text("Network").empty()) {
            throw ApiError{501, "networks of a swarm, and descriptions of such, are not supported"};
        }
        take_addresses(spec, read.object("IPAM"));
        return spec;
    });
}

ConnectBody parse_connect_body(const json::value& body) {
    return parse_body(body, "cannot do this with the network", [](const JsonObject& read) {
        ConnectBody asked{.container = read.text("Container"),
                          .endpoint = parse_endpoint("", read.object("EndpointConfig")),
                          .is_forced = read.flag("Force")};
        if (asked.container.empty()) {
            refuse("no container is named (Container)");
        }
        return asked;
    });
}

Attachment parse_endpoint(const std::string& name, const JsonObject& endpoint) {
    constexpr size_t kMost = 256;  // names and links, each
    Attachment found{.name = name};
    const JsonObject addresses = endpoint.object("IPAMConfig");
    if (!addresses.text("IPv6Address").empty() || !addresses.texts("LinkLocalIPs").empty()) {
        throw ApiError{501,
                       "addresses of IPv6, and link-local ones, (--ip6, --link-local-ip) are not supported"};
    }
    if (!endpoint.text_map("DriverOpts").empty() || endpoint.integer("GwPriority").value_or(0) != 0) {
        throw ApiError{
            501,
            "options of a container's place in a network (--driver-opt, --gw-priority) are not supported"};
    }
    if (const std::string text = addresses.text("IPv4Address"); !text.empty()) {
        found.address = address_of(text, "IPv4");
    }
    if (const std::string mac = endpoint.text("MacAddress"); !mac.empty()) {
        found.mac = parse_mac(mac);
    }
    for (const std::string& alias : endpoint.texts("Aliases")) {
        found.aliases.push_back(host_name(alias, "network-scoped alias"));
    }
    for (const std::string& link : endpoint.texts("Links")) {
        const size_t colon = link.find(':');
        std::string other = link.substr(0, colon);
        if (other.starts_with('/')) {
            other.erase(0, 1);
        }
        // Without an alias it is what it is called anyway.
        std::string alias = colon == std::string::npos ? other : link.substr(colon + 1);
        found.links.emplace_back(host_name(other, "link"), host_name(alias, "link"));
    }
    if (found.aliases.size() > kMost || found.links.size() > kMost) {
        refuse("a container has at most 256 aliases, and as many links, in a network");
    }
    return found;
}

std::string parse_mac(const std::string& text) {
    constexpr size_t kSize = std::string_view{"02:42:ac:11:00:02"}.size();
    std::string mac = text;
    bool is_one = mac.size() == kSize;
    for (size_t at = 0; at < mac.size(); ++at) {
        char& c = mac[at];
        c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
        const bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        is_one = is_one && (at % 3 == 2 ? c == ':' : is_digit);
    }
    // Not one of many, nor nobody's.
    constexpr std::string_view kEven = "02468ace";
    if (!is_one || kEven.find(mac[1]) == std::string_view::npos || mac == "00:00:00:00:00:00") {
        refuse("invalid MAC address: " + printable(text));
    }
    return mac;
}

}  // namespace hull::container
