// The programs that work for a machine outside of it: started and ended by its keeper.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "vmm/jail/cgroup.h"

namespace hull {

/// Of a process that is there (pidfd_open(2)). Throws Error (host_unfit).
UniqueFd open_pidfd(pid_t pid);

/// A program that runs while its owner, the keeper, wants it to: it is killed by the destructor, and by the
/// kernel where the keeper dies. A terminal's signals do not reach it. One thread.
class HelperProcess {
  public:
    struct Program {
        std::string name;                    ///< for messages
        std::filesystem::path file;          ///< absolute
        std::vector<std::string> arguments;  ///< without the program's own name
        std::vector<int> descriptors;        ///< what it gets as 3, 4 and so on; nothing else but standard
                                             ///< error stays open, input and output are empty
        /// Whether it gets pid and mount namespaces of its own. With the first all that it starts ends with
        /// it. Where the user may not make them, they are in a user namespace in which the user is root and
        /// nobody else exists.
        bool is_apart = false;
        /// Of one that is apart: whether further users exist there, where the host has given the user their
        /// ids (SubordinateIds).
        bool has_users = false;
        const jail::Cgroup* group = nullptr;  ///< that it belongs to with all that it starts
        /// What the new process does before it becomes the program: it confines itself. Answers a clause
        /// that says what failed; empty where nothing did.
        std::function<std::string()> prepare = nullptr;
    };

    /// Starts it. Throws Error (no_resources, bad_file where there is no such program, jail_incomplete where
    /// there are no namespaces for it, or host_unfit where it cannot be prepared).
    explicit HelperProcess(const Program& program);
    HelperProcess(HelperProcess&& other) noexcept = default;
    HelperProcess& operator=(HelperProcess&& other) = delete;
    HelperProcess(const HelperProcess&) = delete;
    ~HelperProcess();

    /// Readable once the program has ended.
    [[nodiscard]] int pidfd() const { return pidfd_.get(); }

  private:
    void end();

    UniqueFd pidfd_;
};

/// What a script for /bin/sh, to which `argument` is $0, writes to its descriptor 3 until that is closed.
/// `name` is for messages. Throws Error (no_resources) where it cannot be started.
std::string output_of(const std::string& name, const std::string& script, const std::string& argument);

/// A file of Hull's own, which lies beside the running program or, where Hull is installed, in
/// ../libexec/hull, or, for a program that is there, in ../../bin. Throws Error (bad_file) where it is in
/// none of them.
std::filesystem::path own_file(const std::string& name);

}  // namespace hull
