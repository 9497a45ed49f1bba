// hull run: a container without a daemon.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace hull::container {

/// Does what its --help says with the words behind `hull run`. Answers the exit status: the command's, or 125
/// to 127. Throws Error with status 125. The process has one thread.
ExitStatus run_run(const std::vector<std::string>& arguments);

}  // namespace hull::container
