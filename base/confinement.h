// How a helper program of Hull's locks itself in, once it has all that it needs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace hull {

/// Makes a folder, which is a mount of the process's own mount namespace, the root, and leaves nothing else.
/// Throws Error (internal_failure), as all of these do.
void leave_for(const char* folder);

/// Gives up all capabilities but these (keep_capabilities()), and every way to new ones.
void give_up_rights(uint32_t but);

/// A system call by its number, and what one of its arguments (0 to 5) is to be, if that matters.
struct AllowedCall {
    int number;
    unsigned argument = 0;
    std::optional<uint64_t> value = std::nullopt;
};

/// From now on all other calls fail with EPERM, on all threads that are started from here.
void allow_only(std::span<const AllowedCall> calls);

}  // namespace hull
