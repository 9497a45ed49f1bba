// What a client wants to run in a container beside its command.
#pragma once

#include <boost/json/value.hpp>

#include "container/machine/container_config.h"
#include "container/supervisor/exec_config.h"

namespace hull::container {

/// The body of POST /containers/ID/exec, for a container that is `config`. Throws ApiError (400). Any thread.
ExecConfig parse_exec_body(const boost::json::value& body, const ContainerConfig& config);

struct ExecStart {
    bool is_detached = false;
    bool tty = false;
};

/// The body of POST /exec/ID/start. Throws ApiError (400). Any thread.
ExecStart parse_exec_start(const boost::json::value& body);

}  // namespace hull::container
