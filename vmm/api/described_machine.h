// A machine's configuration as Firecracker's API tells it.
#pragma once

#include <optional>

#include "vmm/api/http_server.h"
#include "vmm/machine/config.h"

namespace hull {

/// What GET /, GET /version, GET /machine-config and GET /vm/config answer; nothing for any other request.
/// `state` is "Not started", "Running" or "Paused".
std::optional<HttpAnswer> describe(const HttpRequest& request, const MachineConfig& config,
                                   const char* state);

}  // namespace hull
