// All that a thread of a machine's process may try once its guest has taken it over.
#pragma once

#include <liburing.h>

#include <span>

#include "tests/hostile/target.h"

namespace hull::turncoat {

struct Outcome {
    enum class Kind {
        succeeded,
        reached,  ///< the call failed, but for no right that was missing: its filter is open
        refused,
        bounded,  ///< succeeded `number` times, then no more
    };
    Kind kind;
    long number = 0;  ///< an errno, or how often
};

/// What there is to attack with.
struct Attacker {
    const Target& target;
    io_uring* ring;  ///< of this thread; nullptr where it has none
    int other_ring;  ///< a descriptor of another thread's, or -1
};

/// One thing to try, which undoes what succeeded.
struct Attack {
    const char* name;
    Outcome (*attempt)(const Attacker& attacker);
};

/// From any thread.
std::span<const Attack> attacks();
/// From one that has no ring of io_uring.
std::span<const Attack> ringless_attacks();
/// From one that has a ring of io_uring.
std::span<const Attack> ring_attacks();

}  // namespace hull::turncoat
