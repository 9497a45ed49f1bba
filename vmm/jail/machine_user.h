// Whom a machine's process is on the host where root starts it (--jail-user).
#pragma once

#include <sys/types.h>

#include <string>

namespace hull::jail {

struct MachineUser {
    /// The users that machines have of their own are these and the number of the keeper's process, which is
    /// below 2^22. Nobody hands them out (systemd, "Users, Groups, UIDs and GIDs": unused from here to 2^31).
    static constexpr uid_t kFirstOwn = 0x7000'0000;

    uid_t uid;
    gid_t gid;
};

/// The user that `text` names: NAME or UID, with ":GID" behind it or without; of a name the group is that
/// user's, of a number the same number. Empty: one that nobody else is. Throws Error (usage) where there is
/// no such user, where it is root, and where something is named and this process is not root's.
MachineUser find_machine_user(const std::string& text);

}  // namespace hull::jail
