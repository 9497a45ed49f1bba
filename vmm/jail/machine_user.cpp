#include "vmm/jail/machine_user.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "vmm/machine/option_text.h"
#include "vmm/main/helper_process.h"

namespace hull::jail {

namespace {

constexpr const char* kOption = "--jail-user";

bool is_number(const std::string& text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

uint32_t parse_id(const std::string& text) {
    // The last number means none at all to setresuid(2).
    return parse_number(text, kOption, 0, std::numeric_limits<uint32_t>::max() - 1);
}

/// By the host's own program: how names are looked up is a matter of libraries that a static program cannot
/// count on. A line of /etc/passwd's form, or nothing.
MachineUser look_up(const std::string& name) {
    std::istringstream line{output_of("getent", "getent passwd -- \"$0\" >&3 2>/dev/null", name)};
    std::string found;
    std::string ignored;
    std::string uid;
    std::string gid;
    std::getline(line, found, ':');
    std::getline(line, ignored, ':');
    std::getline(line, uid, ':');
    std::getline(line, gid, ':');
    if (found != name || !is_number(uid) || !is_number(gid)) {
        refuse_option(kOption, name, "there is no such user", "give one that the host has, or a number");
    }
    return {.uid = parse_id(uid), .gid = parse_id(gid)};
}

}  // namespace

MachineUser find_machine_user(const std::string& text) {
    if (text.empty()) {
        const uid_t own = MachineUser::kFirstOwn + static_cast<uid_t>(getpid());
        return {.uid = own, .gid = own};
    }
    if (geteuid() != 0) {
        refuse_option(kOption, text, "only root can start a machine as another user", "leave it out");
    }
    const size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    MachineUser user{};
    if (is_number(name)) {
        user.uid = parse_id(name);
        user.gid = user.uid;
    } else {
        user = look_up(name);
    }
    if (colon != std::string::npos) {
        user.gid = parse_id(text.substr(colon + 1));
    }
    if (user.uid == 0 || user.gid == 0) {
        refuse_option(kOption, text, "root, or root's group, is nobody to be confined to",
                      "give another user, or none for one of the machine's own");
    }
    return user;
}

}  // namespace hull::jail
