// A container in which a build's command runs.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "container/build/build.h"
#include "container/life/containers.h"
#include "container/life/events.h"

namespace hull::container {

struct StepRequest {
    const StoredImage& image;
    const std::vector<std::string>& command;
    const std::vector<std::string>& environment;  ///< all of it
    const boost::json::object& host_config;       ///< Docker's HostConfig
};

/// Makes one of the daemon's own, which is removed by its remove() alone. All but the request outlive it;
/// `wait_for` returns when there is something to read from a descriptor, and throws where nobody waits for
/// the build any more, which ends the command. Throws ApiError, as a client's creation of a container does,
/// and Error.
std::unique_ptr<StepContainer> create_step(Containers& containers, Events& events,
                                           std::function<void(int fd)> wait_for, const StepRequest& request);

}  // namespace hull::container
