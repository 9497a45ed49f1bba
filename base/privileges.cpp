#include "base/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/small_file.h"

namespace hull {

bool map_user(uid_t as, uid_t user, gid_t group) {
    const std::string inside = std::to_string(as) + " ";
    return write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", inside + std::to_string(user) + " 1") &&
           write_file("/proc/self/gid_map", inside + std::to_string(group) + " 1");
}

bool become_user(uid_t user, gid_t group) {
    return setgroups(0, nullptr) == 0 && setresgid(group, group, group) == 0 &&
           setresuid(user, user, user) == 0;
}

bool keep_capabilities(uint32_t bits) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    if (syscall(SYS_capget, &header, sets.data()) != 0) {
        return false;
    }
    const uint32_t kept = sets[0].permitted & bits;
    sets = {};
    sets[0].effective = sets[0].permitted = kept;
    return syscall(SYS_capset, &header, sets.data()) == 0;
}

}  // namespace hull
