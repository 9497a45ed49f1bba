// What a client wants to be mounted into a container.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "container/image/json.h"
#include "container/life/container_spec.h"

namespace hull::container {

/// Those of the container that a client names. Throws ApiError where there is none.
using MountsOf = std::function<std::vector<ContainerMount>(const std::string& container)>;

/// Of a create body and the HostConfig in it, and what its image wants to have on volumes, by Docker's rules
/// and with its words; what is in memory only goes into `tmpfs`, behind what is there. `mounts_of` may be
/// empty: then there are no other containers. Throws ApiError: 400, or 501 for what is not done here; and
/// Error for what is not of its kind. Any thread.
std::vector<ContainerMount> parse_mounts(const JsonObject& body, const JsonObject& host,
                                         const std::vector<std::string>& of_image, const MountsOf& mounts_of,
                                         std::vector<TmpfsMount>& tmpfs);

}  // namespace hull::container
