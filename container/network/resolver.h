// Who resolves names for the host, and so for its containers.
#pragma once

#include <string>
#include <vector>

namespace hull::container {

/// What a resolv.conf says (resolv.conf(5)).
struct Resolver {
    std::vector<std::string> servers;
    std::vector<std::string> search;
    std::vector<std::string> options;
};

/// The servers are those that are given as addresses.
Resolver parse_resolver(const std::string& text);

/// The host's as it is now; where it names no server, 8.8.8.8 and 8.8.4.4, as Docker does.
Resolver host_resolver();

/// Whether a guest on a bridge can ask this server itself: one at the host's loopback is another one there,
/// and it has no way to one of IPv6.
bool is_for_bridges(const std::string& server);

}  // namespace hull::container
