// The unix sockets by which programs of the host's reach a guest's ports, and the other way round: as
// Firecracker and Cloud Hypervisor have them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/unique_fd.h"
#include "base/unix_address.h"

namespace hull::virtio {

/// The longest path of the socket that a host's program connects to, in bytes: "_" and any port still fit
/// behind it.
inline constexpr size_t kMostVsockPath = UnixAddress::kMostPath - sizeof "_4294967295" + 1;

/// How a guest's own connection reaches the host's program that listens for `port`: a stream socket that does
/// not block, or no descriptor where there is none. May wait, but not for long. One thread at a time.
using HostConnector = std::function<UniqueFd(uint32_t port)>;

/// Connects to the program that listens on `path` with "_" and the port behind it, without waiting. No
/// descriptor either where its queue of connections is full.
HostConnector connect_beside(std::string path);

}  // namespace hull::virtio
