#include "container/api/network_api.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/api/container_filter.h"
#include "container/api/container_json.h"
#include "container/api/filters.h"
#include "container/api/json_shapes.h"
#include "container/api/network_body.h"

namespace hull::container {

namespace json = boost::json;
using std::chrono::system_clock;

namespace {

json::array addresses_json(const Network& network) {
    const NetworkSpec& spec = network.spec;
    if (!network.subnet) {
        return {};
    }
    json::object shown{{"Subnet", network.subnet->text()}};
    if (spec.range) {
        shown["IPRange"] = spec.range->text();
    }
    if (spec.gateway || !spec.subnet) {  // of a subnet of the user's that is shown which is the user's, too
        shown["Gateway"] = address_text(network.gateway);
    }
    if (!spec.reserved.empty()) {
        json::object reserved;
        for (const auto& [name, address] : spec.reserved) {
            reserved[name] = address_text(address);
        }
        shown["AuxiliaryAddresses"] = std::move(reserved);
    }
    return {std::move(shown)};
}

const std::vector<std::string>* values_of(const Filters& filters, const char* name) {
    const auto found = filters.find(name);
    return found == filters.end() || found->second.empty() ? nullptr : &found->second;
}

/// Whether any of a filter's values is met, or there is none of them.
template <class IsMet>
bool passes(const Filters& filters, const char* name, const IsMet& is_met) {
    const auto* const wanted = values_of(filters, name);
    return wanted == nullptr || std::ranges::any_of(*wanted, is_met);
}

void check_filters(const Filters& filters, std::initializer_list<std::string_view> known) {
    for (const auto& [filter, values] : filters) {
        if (std::ranges::find(known, filter) == known.end()) {
            throw ApiError{400, "Invalid filter '" + printable(filter) + "'"};
        }
    }
    if (const auto* const types = values_of(filters, "type")) {
        for (const std::string& type : *types) {
            if (type != "custom" && type != "builtin") {
                throw ApiError{400, "invalid filter: 'type'='" + printable(type) + "'"};
            }
        }
    }
}

}  // namespace

json::object network_json(const Network& network) {
    std::map<std::string, std::string> options = network.spec.options;
    if (network.spec.name == Network::kBridge && !network.bridge.empty()) {
        options[Network::kInterface] = network.bridge;
    }
    const json::value no_options =
        network.is_predefined() ? json::value(nullptr) : json::value(json::object{});
    return {{"Name", network.spec.name},
            {"Id", network.id},
            {"Created", time_text(network.created)},
            {"Scope", "local"},
            {"Driver", network.driver_word()},
            {"EnableIPv6", false},
            {"IPAM", {{"Driver", "default"}, {"Options", no_options}, {"Config", addresses_json(network)}}},
            {"Internal", network.spec.is_internal},
            {"Attachable", network.spec.is_attachable},
            {"Ingress", false},
            {"ConfigFrom", {{"Network", ""}}},
            {"ConfigOnly", false},
            {"Containers", json::object{}},
            {"Options", members_of(options)},
            {"Labels", members_of(network.spec.labels)}};
}

bool NetworkApi::answer(ApiCall& call) {
    const RequestTarget& target = call.target();
    if (call.is("GET") && (target.path == "/networks" || target.path == "/networks/")) {
        list(call);
    } else if (call.is("POST") && target.path == "/networks/create") {
        create(call);
    } else if (call.is("POST") && target.path == "/networks/prune") {
        prune(call);
    } else if (const auto joined = target.between("/networks/", "/connect"); joined && call.is("POST")) {
        connect(call, *joined);
    } else if (const auto left = target.between("/networks/", "/disconnect"); left && call.is("POST")) {
        disconnect(call, *left);
    } else if (const auto name = target.between("/networks/", ""); name && call.is("GET")) {
        inspect(call, *name);
    } else if (name && call.is("DELETE")) {
        remove(call, *name);
    } else {
        return false;
    }
    return true;
}

bool NetworkApi::is_used(const Network& network) const {
    return std::ranges::any_of(containers_.list(), [&](const ContainerView& container) {
        return std::ranges::find(container.networks, network.id, &Attachment::network) !=
               container.networks.end();
    });
}

void NetworkApi::list(ApiCall& call) const {
    const Filters filters = parse_filters(call.target().find("filters").value_or(""));
    check_filters(filters, {"dangling", "driver", "id", "label", "name", "scope", "type"});
    json::array all;
    for (const Network& network : networks_.list()) {
        const auto* const labels = values_of(filters, "label");
        const bool is_wanted =
            (labels == nullptr ||
             std::ranges::all_of(
                 *labels, [&](const std::string& each) { return has_label(network.spec.labels, each); })) &&
            passes(filters, "name",
                   [&](const std::string& each) { return is_meant(each, network.spec.name); }) &&
            passes(filters, "id", [&](const std::string& each) { return is_meant(each, network.id); }) &&
            passes(filters, "driver",
                   [&](const std::string& each) { return each == network.driver_word(); }) &&
            passes(filters, "scope", [](const std::string& each) { return each == "local"; }) &&
            passes(filters, "type",
                   [&](const std::string& each) { return (each == "builtin") == network.is_predefined(); }) &&
            passes(filters, "dangling", [&](const std::string& each) {
                return is_true("dangling", each) == (!network.is_predefined() && !is_used(network));
            });
        if (is_wanted) {
            all.push_back(network_json(network));
        }
    }
    call.send(all);
}

void NetworkApi::inspect(ApiCall& call, const std::string& name) const {
    const Network network = networks_.find(name);
    const std::string scope = call.target().find("scope").value_or("");
    if (!scope.empty() && scope != "local") {
        throw ApiError{404, "network " + printable(name) + " not found"};
    }
    json::object shown = network_json(network);
    json::object members;
    for (const ContainerView& container : containers_.list()) {
        for (const Attachment& each : container.networks) {
            if (each.network == network.id && each.endpoint) {
                members[container.id] = {{"Name", container.name},
                                         {"EndpointID", endpoint_id(container, each)},
                                         {"MacAddress", each.endpoint->mac},
                                         {"IPv4Address", each.endpoint->text()},
                                         {"IPv6Address", ""}};
            }
        }
    }
    shown["Containers"] = std::move(members);
    call.send(shown);
}

void NetworkApi::create(ApiCall& call) {
    const Network network = networks_.create(parse_network_body(call.body()));
    call.send({{"Id", network.id}, {"Warning", ""}}, 201);
}

void NetworkApi::remove(ApiCall& call, const std::string& name) {
    networks_.remove(name);
    call.send_nothing();
}

void NetworkApi::connect(ApiCall& call, const std::string& name) {
    ConnectBody asked = parse_connect_body(call.body());
    containers_.connect(asked.container, name, std::move(asked.endpoint));
    call.send_nothing(200);
}

void NetworkApi::disconnect(ApiCall& call, const std::string& name) {
    const ConnectBody asked = parse_connect_body(call.body());
    containers_.disconnect(asked.container, name, asked.is_forced);
    call.send_nothing(200);
}

void NetworkApi::prune(ApiCall& call) {
    const PruneFilter filter{parse_filters(call.target().find("filters").value_or("")), system_clock::now()};
    json::array removed;
    for (const Network& network : networks_.list()) {
        if (network.is_predefined() || !filter.passes(network.created, network.spec.labels)) {
            continue;
        }
        try {
            networks_.remove(network.id);
            removed.emplace_back(network.spec.name);
        } catch (const ApiError&) {
            // A container is in it, or somebody else has removed it.
        }
    }
    events_.tell({.type = "network",
                  .action = "prune",
                  .id = "",
                  .attributes = {{"reclaimed", "0"}},
                  .time = system_clock::now()});
    call.send({{"NetworksDeleted", or_null(std::move(removed))}});
}

}  // namespace hull::container
