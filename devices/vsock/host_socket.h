// The unix sockets by which programs of the host's reach a guest's ports, and the other way round: as
// Firecracker and Cloud Hypervisor have them.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.h"
#include "base/unix_address.h"

namespace hull::virtio {

/// The longest path of the socket that a host's program connects to, in bytes: "_" and any port still fit
/// behind it.
inline constexpr size_t kMostVsockPath = UnixAddress::kMostPath - sizeof "_4294967295" + 1;

/// Connects to the program that listens on `path` with "_" and `port` behind it, without waiting. No
/// descriptor where there is none, or its queue of connections is full. The socket does not block.
UniqueFd connect_to_host(const std::string& path, uint32_t port);

}  // namespace hull::virtio
