// How setting up fails, and what hull's exit status then says.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace hull {

/// The exit status of every hull command. README.md, "Exit statuses", lists them for users; values never
/// change.
enum class ExitStatus : int {
    success = 0,           ///< done, or: the guest powered itself off
    internal_failure = 1,  ///< a defect in Hull, or the host failed in a way that nothing below names
    usage = 2,             ///< an unknown, repeated or malformed option, or a malformed configuration file
    host_unfit = 3,        ///< KVM is missing, not permitted, or lacks what is needed
    bad_file = 4,       ///< a kernel, initramfs or other file is missing, unreadable or not what it should be
    no_resources = 5,   ///< not enough memory, a port that is taken, or a limit of the host's is in the way
    guest_reboot = 10,  ///< the guest asked for a reset
    guest_triple_fault = 11,  ///< a vCPU shut down (a triple fault)
    guest_panic = 12,         ///< the guest's kernel panicked (told through pvpanic)
    guest_failure = 13,       ///< KVM could not go on running a vCPU
    forced_stop = 14,   ///< the machine was ended from outside: Ctrl-A x, a second signal, or --stop-timeout
    machine_died = 15,  ///< the machine's process was killed or crashed
    jail_incomplete = 16,   ///< a layer of the jail cannot be had on this host, and was not left out by name
    registry_failure = 17,  ///< a registry of images cannot be reached, refuses, or ends early
};

/// An error while setting up, for a person: one line that says what was tried, why it failed and what to do.
/// Thrown while a machine is being made; never thrown through a vCPU or device loop.
class Error : public std::runtime_error {
  public:
    /// `tried` starts with a verb phrase and names the file, address or value ("cannot open kernel 'x'");
    /// `why` is the cause; `advice` what the user can do, and may be empty.
    Error(ExitStatus status, std::string_view tried, std::string_view why, std::string_view advice = {});

    /// What another process of Hull's told: its line as it is.
    Error(ExitStatus status, const std::string& line) : std::runtime_error{line}, status_{status} {}

    [[nodiscard]] ExitStatus status() const { return status_; }

  private:
    ExitStatus status_;
};

/// The text of an errno value ("No such file or directory"). Any thread.
std::string errno_text(int error_number);

}  // namespace hull
