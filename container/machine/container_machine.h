// Runs a container in a machine of its own, from the first instruction to the last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "container/machine/container_config.h"
#include "vmm/main/helper_process.h"
#include "vmm/main/made_files.h"

namespace hull::container {

/// What the machine is made of, beside what the container is to be.
struct ContainerMachine {
    std::filesystem::path kernel{};
    std::filesystem::path initramfs{};            ///< with the kernel's modules; empty: it needs none
    std::vector<std::filesystem::path> layers{};  ///< disks (EROFS), the lowest first
    std::filesystem::path writable{};             ///< an ext4 disk
    bool is_writable_kept = false;                ///< whether what is written stays there, or is thrown away
    uint32_t cpus = 1;
    std::vector<std::string> ports{};  ///< "HOSTIP:PORT:GUESTPORT[/udp]" at the host
    std::vector<std::string> words{};  ///< further ones for `hull boot`

    /// Bytes of memory that the machine gets for a container with this limit; without one, by default.
    static uint64_t memory_of(const std::optional<uint64_t>& limit);
    /// Processors that it gets for one whose time is limited to so many: as many of those that this process
    /// may use; without a limit all of them.
    static uint32_t cpus_for(const std::optional<double>& limit);
    /// By which its guest mounts what is shared with it, that which it may cache apart from the rest; each in
    /// the order of ContainerConfig::shared.
    static constexpr const char* share_tag(SharedMount::By by) {
        return by == SharedMount::By::cached_share ? "hull-cached" : "hull";
    }
    /// As its guest calls the disk of the shared mount of this index.
    [[nodiscard]] static std::string disk_name(const ContainerConfig& config, size_t layers, size_t shared);
    /// The words behind `hull` that boot it, with the agent's initramfs. What it meets this process at is in
    /// `folder`.
    [[nodiscard]] std::vector<std::string> boot_words(const ContainerConfig& config,
                                                      const std::filesystem::path& folder,
                                                      const std::filesystem::path& agent) const;
};

/// A machine that boots as a child process, which does not outlive this object or its process.
struct StartedMachine {
    /// What it meets this process at is made in `folder`, and removed with this. What it says when it fails
    /// goes to the descriptor `errors`. The calling process has one thread. Throws Error.
    StartedMachine(const ContainerConfig& config, const ContainerMachine& machine,
                   const std::filesystem::path& folder, int errors);

    /// At once, without its guest's consent, and tidying up: `boot` ends then.
    void ask_to_end() const;

    MadeFiles made;
    UniqueFd listener;   ///< where the agent's connections arrive; does not block
    UniqueFd console;    ///< what the guest's console prints; does not block
    HelperProcess boot;  ///< keeps the machine
};

/// Boots the machine as a child process that does not outlive this one, runs the command with this process's
/// streams, and tidies up. `name` is unique among the containers that run. `is_up` is called once, when the
/// machine has opened its disks. Answers the exit status (see ContainerSession::run()). Throws Error where
/// there is none. The calling process has one thread.
int run_container(const ContainerConfig& config, const ContainerMachine& machine, const std::string& name,
                  std::function<void()> is_up);

}  // namespace hull::container
