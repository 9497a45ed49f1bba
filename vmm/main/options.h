// The command line of `hull boot`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "vmm/machine/config.h"
#include "vmm/machine/snapshot.h"

namespace hull {

/// What the command line of `hull boot` says.
struct BootOptions {
    MachineConfig config;
    std::filesystem::path api_socket;  ///< where the API's clients come to; empty: it has none
    bool help = false;
    bool dry_run = false;
};

/// Reads the arguments behind `hull boot`, a --config file first where one is given: the command line wins.
/// What neither says about kernel and initramfs is filled in from scripts/guest-kernel's folder where that
/// has them. Not checked yet (MachineConfig::check). Throws Error (usage, or bad_file for the configuration
/// file).
BootOptions parse_boot_options(const std::vector<std::string>& arguments);

/// What the command line of `hull restore` says.
struct RestoreOptions {
    BootOptions boot;     ///< the machine as it was, with what the command line says instead
    SnapshotState state;  ///< of the snapshot
    SnapshotFiles files;
};

/// Reads the arguments behind `hull restore` and the snapshot's state. How the machine's process is confined
/// is not the snapshot's to say. Throws Error (usage, or bad_file for the snapshot).
RestoreOptions parse_restore_options(const std::vector<std::string>& arguments);

/// The machine of a snapshot, whose state's file is `file`, but for how it is confined. Throws Error (usage,
/// or bad_file).
MachineConfig config_of(const SnapshotState& state, const std::string& file);

/// What the command line of `hull serve` says: the machine's console and how it is confined; a client says
/// the rest. Throws Error (usage).
BootOptions parse_serve_options(const std::vector<std::string>& arguments);

/// The text of `hull serve --help`.
std::string serve_help();

/// The text of `hull restore --help`.
std::string restore_help();

/// The text of `hull boot --help`.
std::string boot_help();

}  // namespace hull
