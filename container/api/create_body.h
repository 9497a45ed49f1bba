// What a client wants a container to be.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "container/api/create_mounts.h"
#include "container/image/json.h"
#include "container/image/store.h"
#include "container/life/container_spec.h"

namespace hull::container {

/// The image that the body of POST /containers/create names. Throws ApiError (400) where it is no object or
/// names none.
std::string image_named_by(const boost::json::value& body);

/// Of an object as HostConfig's RestartPolicy. Throws ApiError (400), and Error where a value is of another
/// kind.
RestartPolicy parse_restart_policy(const JsonObject& policy);

/// Of such a body and that image, what the container is to be, by Docker's rules and with its words. What
/// Hull cannot do is refused by name, whatever the client means by it; keys that Docker does not know are
/// passed over, as Docker does. The host name may be empty: see give_host_name(). `mounts_of` finds those of
/// other containers. Throws ApiError: 400, or 501 for what is not done here. Any thread.
ContainerSpec parse_create_body(const boost::json::value& body, const StoredImage& image,
                                const MountsOf& mounts_of = {});

}  // namespace hull::container
