// Some of the host's files in a folder of a helper's own, which is all that it sees of them.
#pragma once

#include <string>
#include <vector>

#include "vmm/machine/view_config.h"

namespace hull {

/// Where the folder is made, in the helper's namespace alone: over one that every host has.
inline constexpr const char* kViewPlace = "/run";

/// In the new process of a helper in namespaces of its own (HelperProcess::Program::prepare): makes the
/// folder, as a mount that nobody can write into, with these parts. What fails, or nothing.
std::string show(const std::vector<ViewConfig::Part>& parts);

}  // namespace hull
