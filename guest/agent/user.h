// Whose rights a command has: names are the guest's own files' to explain.
#pragma once

#include <sys/types.h>

namespace hull::agent {

struct User {
    static constexpr int kMostGroups = 64;  // further ones are left out

    uid_t id = 0;
    gid_t group = 0;
    gid_t groups[kMostGroups];  ///< that one, so that it cannot be done without, and further ones
    int group_count = 0;
    char home[256] = "/";
};

/// Looks up "NAME|ID[:GROUP|ID]", with an empty NAME for 0, in files like passwd(5) and group(5), which need
/// not be there. A user's further groups are those that name it, unless a group is given. A user that is
/// known by number only has group 0. Null, or what failed, with errno.
const char* find_user(const char* text, const char* users, const char* groups, User& user);

}  // namespace hull::agent
