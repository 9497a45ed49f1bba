// The ports of a container that is to be made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "container/image/json.h"
#include "container/life/container_spec.h"

namespace hull::container {

/// Of a HostConfig ("PortBindings", "PublishAllPorts") what is to be published. `exposed` are those that
/// image and user name ("80/tcp"); those that are bound are put in. Throws ApiError (400), and Error where a
/// value is of another kind. Any thread.
std::vector<PortBinding> parse_ports(const JsonObject& host_config, std::vector<std::string>& exposed,
                                     bool has_network);

/// Digits, and nothing else, up to a number.
std::optional<uint64_t> decimal(std::string_view text, uint64_t most);

}  // namespace hull::container
