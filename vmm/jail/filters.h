// What make_filters.cpp makes of the list of system calls (calls.h) when Hull is built.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>

#include "base/thread_guard.h"

namespace hull::jail {

/// The program for seccomp(2): what is on the thread's list is allowed, all else is SECCOMP_RET_TRAP, calls
/// in the form of another instruction set included.
[[nodiscard]] std::span<const sock_filter> filter_of(ThreadKind kind);

/// The kernel's name of a system call by its number on this architecture, or nothing. Async-signal-safe.
[[nodiscard]] const char* name_of_call(int number);

/// AUDIT_ARCH_ of this architecture.
extern const uint32_t kNativeArchitecture;

}  // namespace hull::jail
