// `hull ctl`: controls a machine that runs, by its API.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace hull {

/// Does what the arguments behind `hull ctl` say. Throws Error; what the machine refuses has the status
/// usage.
ExitStatus run_control(const std::vector<std::string>& arguments);

/// Does what the arguments behind `hull snapshot` say: looks whether one is whole. Throws Error.
ExitStatus run_snapshot(const std::vector<std::string>& arguments);

}  // namespace hull
