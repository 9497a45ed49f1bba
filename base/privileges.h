// What a process may, given away. All answer false, with errno, where the kernel does not let them.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace hull {

/// In a new user namespace, which then has one user and one group: `user` and `group` of the one above, which
/// are `as` in there.
bool map_user(uid_t as, uid_t user, gid_t group);

/// Becomes this user with this group and no others, for good.
bool become_user(uid_t user, gid_t group);

/// Gives up all capabilities but those of these bits that the process has, in its permitted and effective
/// sets.
bool keep_capabilities(uint32_t bits);

}  // namespace hull
