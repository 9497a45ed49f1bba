// Bridges and taps of the host's. All throw Error (no_resources), and need CAP_NET_ADMIN.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "container/network/subnet.h"

namespace hull::container {

/// The subnet of a network interface; none where there is no such interface, or it has no address.
std::optional<Subnet> subnet_of(const std::string& interface);

/// Makes a bridge that has this address of the subnet's. One of its name that is there already is taken over.
void make_bridge(const std::string& name, const Subnet& subnet, uint32_t address);
/// Whether an interface is attached to it.
bool has_ports(const std::string& bridge);
/// Harmless where it is not there. False where it cannot be removed.
bool remove_bridge(const std::string& name);

/// Makes a tap device that lives as long as what is answered or one of its queues does, which another program
/// opens. It is not up yet.
UniqueFd make_tap(const std::string& name);
/// A queue of that device, each of whose frames is behind a virtio_net_hdr; it does not block.
UniqueFd open_tap(const std::string& name);
/// Attaches it to the bridge, and brings it up.
void join_bridge(const std::string& interface, const std::string& bridge);
/// The reverse, which fails silently.
void leave_bridge(const std::string& interface, const std::string& bridge);

}  // namespace hull::container
