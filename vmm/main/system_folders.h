// What `hull sandbox` shows of the host: the programs, and what they need to run.
#pragma once

#include <filesystem>
#include <vector>

#include "vmm/machine/view_config.h"

namespace hull {

/// The system's folders and those files of /etc that programs need, as they are on this host. Never homes,
/// keys, passwords or what else is a person's or a service's own.
std::vector<ViewConfig::Part> system_parts();

/// Whether an absolute, canonical path of the host's is in one of the folders of system_parts(), and so has
/// the same name in the sandbox.
bool is_in_system_folder(const std::filesystem::path& path);

}  // namespace hull
