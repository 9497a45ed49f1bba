// hull pull, hull images, hull rmi: images without a daemon.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace hull::container {

/// Each of these does what its --help says with the words behind the command, prints on standard output, and
/// answers the exit status. They throw Error.
ExitStatus run_pull(const std::vector<std::string>& arguments);
ExitStatus run_images(const std::vector<std::string>& arguments);
ExitStatus run_rmi(const std::vector<std::string>& arguments);

}  // namespace hull::container
