// The daemon that docker's clients talk to.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace hull::container {

/// 'hull daemon': until SIGTERM or SIGINT. Throws Error.
ExitStatus run_daemon(const std::vector<std::string>& arguments);

}  // namespace hull::container
