// The command line of `hull boot`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmm/machine/config.h"

namespace hull {

/// What the command line of `hull boot` says.
struct BootOptions {
    MachineConfig config;
    bool help = false;
    bool dry_run = false;
};

/// Reads the arguments behind `hull boot`, a --config file first where one is given: the command line wins.
/// What neither says about kernel and initramfs is filled in from scripts/guest-kernel's folder where that
/// has them. Not checked yet (MachineConfig::check). Throws Error (usage, or bad_file for the configuration
/// file).
BootOptions parse_boot_options(const std::vector<std::string>& arguments);

/// The text of `hull boot --help`.
std::string boot_help();

}  // namespace hull
