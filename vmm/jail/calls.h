// The system calls that a machine's threads may make once the guest runs: the list that the filters are made
// of (make_filters.cpp), for people to read and for tests to count.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_guard.h"

namespace hull::jail {

/// What an argument must be: its bits in `mask` are those of `value`.
struct Limit {
    unsigned argument;  ///< 0 to 5
    uint64_t mask;
    uint64_t value;
};

/// A system call, or one form of it: there may be several of a name.
struct Call {
    const char* name;  ///< the kernel's; one that this architecture has not got is not among those allowed
    const char* why;   ///< what the thread needs it for
    std::vector<Limit> limits = {};
};

/// All that a thread of this kind may do; whatever else it asks for is refused. First the most frequent.
[[nodiscard]] std::vector<Call> calls_of(ThreadKind kind);

/// What the compiler's sanitizers need beside that in every thread, where Hull is built with them, as its
/// tests are. Not counted as the thread's.
[[nodiscard]] std::vector<Call> calls_of_sanitizers();

}  // namespace hull::jail
