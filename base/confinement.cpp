#include "base/confinement.h"

#include <seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/error.h"
#include "base/privileges.h"

namespace hull {

namespace {

void require(bool done, const char* tried) {
    if (!done) {
        throw Error{ExitStatus::internal_failure, tried, errno_text(errno)};
    }
}

}  // namespace

void leave_for(const char* folder) {
    require(chdir(folder) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
                chdir("/") == 0,
            "cannot make a folder the only one");
}

void give_up_rights(uint32_t but) {
    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && keep_capabilities(but), "cannot give up rights");
}

void allow_only(std::span<const AllowedCall> calls) {
    const std::unique_ptr<void, decltype(&seccomp_release)> filter{seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                   seccomp_release};
    require(filter != nullptr, "cannot make a filter of system calls");
    for (const auto& [number, argument, value] : calls) {
        const scmp_arg_cmp limit{
            .arg = argument, .op = SCMP_CMP_EQ, .datum_a = value.value_or(0), .datum_b = 0};
        require(seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, number, value ? 1 : 0, &limit) == 0,
                "cannot make a filter of system calls");
    }
    require(seccomp_load(filter.get()) == 0, "cannot close the filter of system calls");
}

}  // namespace hull
