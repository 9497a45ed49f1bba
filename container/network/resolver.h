// Who resolves names for a container on a bridge.
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

/// Without servers at loopback, which is another one in the guest, and those of IPv6, which it has no way to.
Resolver parse_resolver(const std::string& text);

/// The host's, without those; where it has no others, those that systemd-resolved asks; and where there are
/// none, 8.8.8.8 and 8.8.4.4, as Docker does.
Resolver host_resolver();

}  // namespace hull::container
