// hull build: an image of what a Dockerfile says, without a daemon.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace hull::container {

/// Does what its --help says with the words behind the command, prints on standard output, and answers the
/// exit status: where a command of the Dockerfile's failed, that command's. Throws Error.
ExitStatus run_build(const std::vector<std::string>& arguments);

}  // namespace hull::container
