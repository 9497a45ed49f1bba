// `hull sandbox`: runs a command in a virtual machine that is thrown away behind it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "vmm/machine/config.h"

namespace hull {

/// Makes a machine, keeps it until it has ended, and says how it ended (keep_machine()).
using KeepMachine = std::function<ExitStatus(const MachineConfig& config)>;

/// Runs `hull sandbox` with the arguments behind that. Forks: `keep` is called in the child, which has one
/// thread. Returns the exit status: the command's, or 124 to 127. Throws Error with status 125 where the
/// sandbox cannot be made. The calling process has one thread.
ExitStatus run_sandbox(const std::vector<std::string>& arguments, const KeepMachine& keep);

}  // namespace hull
