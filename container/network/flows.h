// What the host's kernel remembers of connections (conntrack), by which it leads packets on past all rules.
#pragma once

#include <cstdint>
#include <vector>

#include "container/network/published_port.h"

namespace hull::container {

/// Has the host forget what comes from or goes to an address of a bridge's, and what has come to published
/// UDP ports of IPv4: who sends there all the time would be led to where the port led before. False where the
/// kernel cannot tell what there is (nf_conntrack_netlink), or this process has not the rights.
bool forget_flows(uint32_t address, const std::vector<PublishedPort>& ports);

}  // namespace hull::container
