#include "vmm/jail/jail.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/privileges.h"
#include "base/unique_fd.h"
#include "vmm/jail/landlock.h"

namespace hull::jail {

namespace {

using Layer = JailConfig::Layer;

/// Whom an ordinary user's machine takes itself for, in its user namespace.
constexpr uid_t kNobody = 65534;
/// Threads of a machine, those of the kernel's that work for it included. Many more than one has.
constexpr rlim_t kMostThreads = 4096;

constexpr unsigned long kNamespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

constexpr const char* kNamespaceAdvice =
    "permit them (as root: sysctl user.max_user_namespaces=10000, and where there are such settings "
    "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), start Hull as "
    "root, "
    "or do without (--jail-without namespaces)";

[[noreturn]] void fail(Layer layer, const std::string& why, const std::string& advice) {
    throw Error{ExitStatus::jail_incomplete,
                std::string{"cannot close the jail's layer '"} + name_of(layer) + "'", why, advice};
}

/// What no host lacks: a defect where it fails.
void need(bool done, const char* what) {
    if (!done) {
        throw Error{ExitStatus::jail_incomplete, std::string{"cannot close the jail ("} + what + ")",
                    errno_text(errno), "please report it; --jail off does without"};
    }
}

/// As fork(2), into namespaces. Other than fork(), clone(2) leaves it to the caller that the C library knows
/// the new process's number, which in a pid namespace is another than it was.
pid_t fork_into(unsigned long namespaces) {
    int* number = nullptr;
    if (prctl(PR_GET_TID_ADDRESS, &number) != 0) {
        return -1;
    }
    // The order of the last two depends on the architecture; without CLONE_SETTLS the other is not looked at.
    return static_cast<pid_t>(syscall(SYS_clone,
                                      namespaces | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                                      nullptr, nullptr, number, number));
}

/// In a new user namespace.
void become_nobody(uid_t user, gid_t group) {
    if (!map_user(kNobody, user, group)) {
        fail(Layer::namespaces, "the user namespace cannot be set up: " + errno_text(errno),
             kNamespaceAdvice);
    }
}

/// Makes an empty folder in an otherwise empty file system the root, read-only. It is no file system's root,
/// and that keeps the process, as any that chroot(2) has confined, from making a user namespace and with it
/// rights.
void leave_files() {
    constexpr unsigned long kNothingIn = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    const auto need_step = [](bool done, const char* step) {
        if (!done) {
            fail(Layer::namespaces, std::string{step} + ": " + errno_text(errno), kNamespaceAdvice);
        }
    };
    // Without this, what is unmounted here would be on the host, too.
    need_step(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "its mounts cannot be parted");
    // Any folder would do.
    need_step(mount("nothing", "/proc", "tmpfs", kNothingIn, "mode=0555,size=4k,nr_inodes=2") == 0 &&
                  chdir("/proc") == 0 && mkdir("nothing", 0555) == 0 &&
                  mount(nullptr, ".", nullptr, MS_REMOUNT | MS_RDONLY | kNothingIn, nullptr) == 0,
              "an empty file system cannot be mounted");
    need_step(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
                  chroot("nothing") == 0 && chdir("/") == 0,
              "the root cannot be changed");
}

/// What of them the machine needs it has as descriptors of their own.
void leave_standard_streams() {
    const UniqueFd nothing{open("/dev/null", O_RDWR | O_CLOEXEC)};
    need(dup2(nothing.get(), STDIN_FILENO) == STDIN_FILENO &&
             dup2(nothing.get(), STDOUT_FILENO) == STDOUT_FILENO,
         "/dev/null");
}

void set_limits() {
    const auto lower = [](auto resource, rlim_t most) {
        rlimit limit{};
        need(getrlimit(resource, &limit) == 0, "getrlimit");
        limit.rlim_cur = std::min(limit.rlim_cur, most);
        limit.rlim_max = limit.rlim_cur;
        need(setrlimit(resource, &limit) == 0, "setrlimit");
    };
    lower(RLIMIT_CORE, 0);  // the guest's memory is nobody's to find
    lower(RLIMIT_NPROC, kMostThreads);
    lower(RLIMIT_NOFILE, RLIM_INFINITY);  // stays as it is, for good
}

/// What no program that it might start could get back either.
void lock_capabilities() {
    unsigned long capability = 0;
    while (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) {
        ++capability;
    }
    need(errno == EINVAL && capability > 0, "capability bounding set");  // the one behind the last
    constexpr unsigned long kLocked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                      SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                      SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    need(prctl(PR_SET_SECUREBITS, kLocked, 0, 0, 0) == 0, "securebits");
}

/// From standard error on.
void close_all_but(std::span<const int> descriptors) {
    std::vector<int> kept;
    std::ranges::copy_if(descriptors, std::back_inserter(kept), [](int fd) { return fd >= 0; });
    std::ranges::sort(kept);
    unsigned next = STDERR_FILENO + 1;
    for (const int fd : kept) {
        const auto number = static_cast<unsigned>(fd);
        if (number > next) {
            need(close_range(next, number - 1, 0) == 0, "close_range");
        }
        next = std::max(next, number + 1);
    }
    need(close_range(next, ~0U, 0) == 0, "close_range");
}

}  // namespace

Jail::Jail(const JailConfig& config) : config_{config}, keepers_uid_{geteuid()}, keepers_gid_{getegid()} {
    if (!config_.user.empty() || (is_roots() && config_.has(Layer::user))) {
        user_ = find_machine_user(config_.user);
    }
}

pid_t Jail::fork_machine() const {
    if (!config_.has(Layer::namespaces)) {
        return fork();
    }
    const pid_t pid = fork_into(is_roots() ? kNamespaces : kNamespaces | CLONE_NEWUSER);
    if (pid < 0 && errno != EAGAIN && errno != ENOMEM) {
        fail(Layer::namespaces, "they cannot be made: " + errno_text(errno),
             is_roots()
                 ? "start Hull with the capability CAP_SYS_ADMIN, or do without (--jail-without namespaces)"
                 : kNamespaceAdvice);
    }
    return pid;
}

void Jail::close(std::span<const int> descriptors, bool dies_with_keeper) const {
    if (is_off()) {
        return;
    }
    need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    setsid();  // else it could type into the terminal that it has been given
    leave_standard_streams();
    if (config_.has(Layer::namespaces)) {
        if (!is_roots()) {
            become_nobody(keepers_uid_, keepers_gid_);
        }
        leave_files();
    }
    set_limits();
    give_up_rights();
    close_all_but(descriptors);
    if (config_.has(Layer::landlock) && !deny_by_landlock()) {
        fail(Layer::landlock, "the kernel does not do it: " + errno_text(errno),
             "use Linux from 5.13 on with landlock among the words of lsm= where it boots, or do without "
             "(--jail-without landlock)");
    }
    // Behind the change of user, which takes it back.
    need(!dies_with_keeper || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, "death signal");
}

void Jail::give_up_rights() const {
    // An ordinary user in no namespace has none, and does not get any by what it starts either.
    if (is_roots() || config_.has(Layer::namespaces)) {
        lock_capabilities();
    }
    if (user_ && !become_user(user_->uid, user_->gid)) {
        fail(Layer::user,
             "the machine cannot become user " + std::to_string(user_->uid) + ": " + errno_text(errno),
             "give another one (--jail-user), or let it stay root (--jail-without user)");
    }
    need(keep_capabilities(0), "capset");
    need(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, "dumpable");
}

}  // namespace hull::jail
