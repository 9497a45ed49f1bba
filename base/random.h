// Random numbers of the host's.
#pragma once

#include <cstddef>
#include <span>

namespace hull {

/// Fills `target`, at most 256 bytes (getrandom(2)). Throws Error (internal_failure). Any thread.
void take_random(std::span<std::byte> target);

}  // namespace hull
