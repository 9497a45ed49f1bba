// The command line of `hull sandbox`.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "vmm/machine/jail_config.h"

namespace hull {

/// The one address and port of TCP that a command may reach (--allow).
struct AllowedPeer {
    std::string host;      ///< as the user named it
    uint32_t address = 0;  ///< its IPv4 address; 127.0.0.1 is 0x7f000001
    uint16_t port = 0;
};

/// What the command line of `hull sandbox` says.
struct SandboxOptions {
    std::vector<std::string> command;  ///< not empty, unless help is asked for
    std::vector<std::filesystem::path> in;
    std::filesystem::path image;                       ///< empty: the command sees the host's programs
    std::filesystem::path out;                         ///< empty: nothing comes back
    uint64_t out_limit = uint64_t{1} << 30;            ///< bytes
    std::optional<std::chrono::milliseconds> timeout;  ///< from the command's start
    uint32_t cpus = 1;
    uint64_t memory = uint64_t{512} << 20;  ///< bytes, whole MiB
    bool tty = false;
    std::vector<AllowedPeer> allowed;
    bool user_net = false;            ///< --net user
    std::filesystem::path kernel;     ///< empty: what scripts/guest-kernel has fetched
    std::filesystem::path initramfs;  ///< with the kernel's modules; empty: it needs none
    JailConfig jail;                  ///< of the machine
    bool help = false;
};

/// Reads the arguments behind `hull sandbox`; what they do not say of the kernel is filled in from
/// scripts/guest-kernel's folder, with the small one first. Throws Error (usage, or bad_file where there is
/// no kernel).
SandboxOptions parse_sandbox_options(const std::vector<std::string>& arguments);

/// The text of `hull sandbox --help`.
std::string sandbox_help();

}  // namespace hull
