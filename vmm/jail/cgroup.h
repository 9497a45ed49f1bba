// A machine's group of processes, by which the host's kernel limits what they use (cgroups(7)).
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "vmm/machine/limits_config.h"

namespace hull::jail {

/// Where a controller ("memory") has its groups.
struct Hierarchy {
    std::filesystem::path mount;  ///< the folder of the topmost group that can be seen
    std::filesystem::path own;    ///< the folder of this process's group
    bool is_unified = false;      ///< version 2, with all controllers in one tree
};

/// Finds that of `controller`, in version 2's words ("io", not "blkio"), by the texts of
/// /proc/self/cgroup and /proc/self/mountinfo. Empty paths where it is nowhere. A controller of version 1
/// comes before version 2, where it cannot be at the same time; whether version 2 has it, its files say.
Hierarchy find_hierarchy(const std::string& controller, const std::string& cgroups,
                         const std::string& mounts);

/// Made by the keeper before the first process that belongs to it starts, and removed by it when all have
/// ended. On version 2 it is made below the keeper's own group where that was delegated to the user and has
/// no other programs in it (as `systemd-run --user --scope -p Delegate=yes` starts them), with the keeper
/// moved aside into a group named hull-keeper; otherwise by root in a group named hull at the top. On
/// version 1 it is made below the keeper's own groups. One that a killed keeper has left is removed by the
/// next. One thread.
class Cgroup {
  public:
    /// With those of `limits` that are set, of which there is one at least. Throws Error (host_unfit) where
    /// the host has no such limits or does not let the user set them.
    explicit Cgroup(const LimitsConfig& limits);
    Cgroup(const Cgroup&) = delete;
    Cgroup& operator=(const Cgroup&) = delete;
    ~Cgroup();

    /// Limits what is read from and written to the disk of the host's that `file` is or lies on; `name` is
    /// for messages. Throws Error (host_unfit) where it lies on none.
    void limit_io(const IoLimit& limit, int file, const std::string& name);

    /// Puts the calling process, which has one thread, in. Safe between fork and exec. False where that
    /// failed, with errno set.
    [[nodiscard]] bool enter() const;

    /// Whether a process of the group was killed because there was no more memory for it.
    [[nodiscard]] bool ran_out_of_memory() const;

  private:
    /// A folder: one on version 2, one for each hierarchy on version 1.
    struct Group {
        std::filesystem::path path;
        bool is_unified;
        std::vector<std::string> controllers;
        UniqueFd processes;  // its list of them, open for writing
    };

    void make(const std::vector<std::string>& controllers);
    void set(const LimitsConfig& limits);
    [[nodiscard]] const Group& group_for(const std::string& controller) const;
    static void write(const Group& group, const std::string& file, const std::string& text);
    void remove();

    std::vector<Group> groups_;
};

}  // namespace hull::jail
