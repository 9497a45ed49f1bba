// What a client says of networks, and of containers in them.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "container/image/json.h"
#include "container/life/container_spec.h"
#include "container/life/networks.h"

namespace hull::container {

/// The body of POST /networks/create. Throws ApiError, as dockerd answers, also where it asks for what is not
/// done here.
NetworkSpec parse_network_body(const boost::json::value& body);

/// The bodies of POST /networks/NAME/connect and …/disconnect, which both name a container.
struct ConnectBody {
    std::string container;
    Attachment endpoint{};   ///< what is said of it; without the network
    bool is_forced = false;  ///< of disconnect
};
/// Throws ApiError (400, 501).
ConnectBody parse_connect_body(const boost::json::value& body);

/// What an EndpointSettings says of a container in the network `name`. Throws ApiError (400, 501), and Error
/// (bad_file) where it is none.
Attachment parse_endpoint(const std::string& name, const JsonObject& endpoint);

/// A MAC address that an interface may have, in small letters. Throws ApiError (400).
std::string parse_mac(const std::string& text);

}  // namespace hull::container
