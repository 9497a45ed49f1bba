// The part of the jail that refuses system calls (seccomp(2)).
#pragma once

namespace hull::jail {

/// What becomes of a call that is not on its thread's list (calls.h).
enum class Refusal {
    fail,  ///< it fails (EPERM), and a line is logged, once for each kind of thread and call
    kill,  ///< the process is killed by SIGSYS
};

/// From now on each thread that calls guard_this_thread() (base/thread_guard.h) has its filter. Once a
/// process, which is one for a machine alone, has one thread, and never had another: it has no way to new
/// privileges from then on, malloc() has one arena, and with Refusal::fail there is a handler of SIGSYS.
/// Throws Error (jail_incomplete) where the host's kernel has no such filters.
void install_thread_guard(Refusal how);

}  // namespace hull::jail
