// What a client wants a container to be from now on.
#pragma once

#include <boost/json/value.hpp>

#include "container/life/container_spec.h"

namespace hull::container {

/// Throws ApiError where no container can be updated so: 400 with dockerd's words, or 501 for what is not
/// done here. Any thread.
void check_update_body(const boost::json::value& body);

/// Of the body of POST /containers/NAME/update and what the container is: limits that are there and not 0
/// take the place of its HostConfig's, and so does a policy with a name (Engine API, "Update a container").
/// Throws ApiError where this container cannot be updated so: 400 or 409 with dockerd's words. Any thread.
SpecChange parse_update_body(const boost::json::value& body, const ContainerSpec& spec);

}  // namespace hull::container
