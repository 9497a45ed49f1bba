// What a client wants a container to be from now on.
#pragma once

#include <boost/json/value.hpp>

#include "container/life/container_spec.h"

namespace hull::container {

/// Of the body of POST /containers/NAME/update and what the container is: limits that are there and not 0
/// take the place of its HostConfig's, and so does a policy with a name (Engine API, "Update a container").
/// Throws ApiError: 400 with dockerd's words, 409, or 501 for what is not done here. Any thread.
SpecChange parse_update_body(const boost::json::value& body, const ContainerSpec& spec);

}  // namespace hull::container
