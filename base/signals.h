// Signals that are waited for like anything else.
#pragma once

#include <initializer_list>

#include "base/unique_fd.h"

namespace hull {

/// Blocks these signals in the calling thread and all that it makes from then on, and has them arrive as a
/// descriptor (signalfd(2)), which does not block. Throws Error (no_resources).
UniqueFd catch_signals(std::initializer_list<int> numbers);

}  // namespace hull
