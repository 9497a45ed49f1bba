// What a container that is to be made may use.
#pragma once

#include "container/image/json.h"
#include "container/machine/container_config.h"

namespace hull::container {

/// Puts a HostConfig's limits of memory, processors, processes and what each process may do into `config`.
/// Throws ApiError (400), and Error where a value is of another kind. Any thread.
void parse_limits(const JsonObject& host_config, ContainerConfig& config);

}  // namespace hull::container
