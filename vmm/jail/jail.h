// The jail of a machine's process, but for the system calls that it may make: who breaks out of a device is
// still nowhere.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>

#include "vmm/jail/machine_user.h"
#include "vmm/machine/jail_config.h"

namespace hull::jail {

/// Made by the keeper, closed by the machine's process before anything of the machine is made.
///
/// That process has namespaces of its own (mount, pid, network, ipc and uts; where an ordinary user starts
/// it, also a user namespace, in which it is nobody), an empty root that cannot be written to and from which
/// no user namespace can be made, no capability and no way to one, no controlling terminal, no core dump, no
/// descriptor but those that it is given, and Landlock's denial of all that this knows. Where root starts it,
/// it is another user: the one of --jail-user, or one that nobody else is.
class Jail {
  public:
    /// Throws Error (usage) as find_machine_user() does.
    explicit Jail(const JailConfig& config);

    /// As fork(2), into the namespaces. -1 with errno where there can be no process; throws Error
    /// (jail_incomplete) where it cannot have these. The calling process has one thread.
    [[nodiscard]] pid_t fork_machine() const;
    [[nodiscard]] bool is_off() const { return config_.mode == JailConfig::Mode::off; }

    /// In the process that fork_machine() made, which has one thread. Standard input and output become
    /// /dev/null, standard error stays, and `descriptors`. With `dies_with_keeper` the process is killed when
    /// its parent dies; without, the caller sees to that. Throws Error (jail_incomplete), saying which layer
    /// fails, why, and what to do.
    void close(std::span<const int> descriptors, bool dies_with_keeper) const;

  private:
    [[nodiscard]] bool is_roots() const { return keepers_uid_ == 0; }
    void give_up_rights() const;

    JailConfig config_;
    uid_t keepers_uid_;
    gid_t keepers_gid_;
    std::optional<MachineUser> user_;  // whom it becomes; none: it stays whom it is
};

}  // namespace hull::jail
