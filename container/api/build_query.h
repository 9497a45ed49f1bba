// What a client wants to have built.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "container/api/request_target.h"
#include "container/build/build.h"
#include "container/image/reference.h"

namespace hull::container {

struct BuildQuery {
    std::vector<Reference> names;
    std::string file = "Dockerfile";  ///< in the context
    bool is_quiet = false;
    boost::json::object host_config;  ///< Docker's HostConfig of the steps' containers
    BuildOptions options;
};

/// Of the parameters of POST /build (Engine API, "Build an image"). What cannot be done is refused by name.
/// Throws ApiError (400, 501). Any thread.
BuildQuery parse_build_query(const RequestTarget& target);

}  // namespace hull::container
