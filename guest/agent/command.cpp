#include "guest/agent/command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/agent/requests.h"
#include "guest/agent/user.h"

namespace hull::agent {

namespace {

/// TIOCGPTPEER (ioctl_tty(2)), which the C library's header does not name: the other end of a terminal,
/// whatever is mounted where.
constexpr unsigned long kGetOtherEnd = 0x5441;

/// Of those that a command may have for itself, or share with another.
constexpr uint64_t kNamespaceKinds =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;

bool add_word(const char** words, size_t& count, const char* word, size_t most = RunWords::kMost) {
    if (word == nullptr || count == most) {
        return false;
    }
    words[count++] = word;
    words[count] = nullptr;
    return true;
}

bool take_size(const Field& field, uint16_t& size) {
    uint64_t value = 0;
    if (!field.number(value) || value > UINT16_MAX) {
        return false;
    }
    size = static_cast<uint16_t>(value);
    return true;
}

bool take_word(const Field& field, uint32_t& word) {
    uint64_t value = 0;
    if (!field.number(value) || value > UINT32_MAX) {
        return false;
    }
    word = static_cast<uint32_t>(value);
    return true;
}

bool take_flag(const Field& field, bool& flag) {
    uint64_t value = 0;
    if (!field.number(value) || value > 1) {
        return false;
    }
    flag = value == 1;
    return true;
}

bool take_limit(const Field& field, RunRequest& request) {
    constexpr size_t kWord = 8;
    if (field.size != 3 * kWord || request.limit_count == RunRequest::kMostLimits) {
        return false;
    }
    uint64_t values[3];
    for (size_t index = 0; index < 3; ++index) {
        Field{field.tag, field.bytes + index * kWord, static_cast<uint32_t>(kWord)}.number(values[index]);
    }
    if (values[0] >= RLIM_NLIMITS) {
        return false;
    }
    request.limits[request.limit_count++] = {static_cast<int>(values[0]), {values[1], values[2]}};
    return true;
}

struct Pair {
    int ours = -1;
    int theirs = -1;
};

/// A pipe of which the command has the end that is read or the one that is written.
bool make_pipe(Pair& pair, bool command_reads) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    pair = command_reads ? Pair{ends[1], ends[0]} : Pair{ends[0], ends[1]};
    return true;
}

/// From the terminals of the command's own /dev/pts, so that it finds its terminal there.
bool make_terminal(Pair& pair, int root) {
    pair.ours = openat(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int unlock = 0;
    if (pair.ours < 0 || ioctl(pair.ours, TIOCSPTLCK, &unlock) != 0) {
        return false;
    }
    pair.theirs = ioctl(pair.ours, kGetOtherEnd, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return pair.theirs >= 0;
}

/// Makes `root` the place that all names begin at. Not by chroot(2) alone, in which the kernel refuses new
/// user namespaces.
bool enter_root(const char* root) {
    return chdir(root) == 0 && mount(".", "/", nullptr, MS_MOVE, nullptr) == 0 && chroot(".") == 0;
}

/// From here on what the process starts is in this control group.
bool enter_group(const char* group) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool entered = fd >= 0 && write(fd, "0", 1) == 1;
    close(fd);
    return entered;
}

/// What a root has of the kernel that differs between namespaces.
bool mount_kernels_own(uint64_t namespaces) {
    constexpr struct {
        uint64_t namespace_kind;
        const char* kind;
        const char* place;
        unsigned long flags;
    } kMounts[] = {
        {CLONE_NEWPID, "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {CLONE_NEWIPC, "mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {CLONE_NEWCGROUP, "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY},
    };
    for (const auto& each : kMounts) {
        if ((namespaces & each.namespace_kind) == 0) {
            continue;
        }
        if (!make_folders(each.place) || mount(each.kind, each.place, each.kind, each.flags, nullptr) != 0) {
            return false;
        }
    }
    return true;
}

bool hide(const char* place) {
    if (access(place, F_OK) != 0 || mount("/dev/null", place, nullptr, MS_BIND, nullptr) == 0) {
        return true;
    }
    return errno == ENOTDIR && mount("tmpfs", place, "tmpfs", MS_RDONLY, "size=0k") == 0;
}

bool make_unwritable(const char* place) {
    if (access(place, F_OK) != 0) {
        return true;
    }
    if (strcmp(place, "/") != 0 && mount(place, place, nullptr, MS_BIND | MS_REC, nullptr) != 0) {
        return false;
    }
    struct statvfs status {};
    if (statvfs(place, &status) != 0) {
        return false;
    }
    // Which are numbered alike (statvfs(3)), and would otherwise be lost.
    const unsigned long kept = status.f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC);
    return mount(nullptr, place, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | kept, nullptr) == 0;
}

/// What failed; null where nothing did.
const char* confine_view(const RunRequest& request) {
    for (const char* const* place = request.hidden; *place != nullptr; ++place) {
        if (!hide(*place)) {
            return "to hide a part of the root";
        }
    }
    for (const char* const* place = request.unwritable; *place != nullptr; ++place) {
        if (!make_unwritable(*place)) {
            return "to make a part of the root read-only";
        }
    }
    return nullptr;
}

/// Enters namespaces, of its own or those of the command that it joins. The pid one, which is for children
/// only, is its already.
const char* enter_namespaces(const RunRequest& request, int joined) {
    if (request.group != nullptr && !enter_group(request.group)) {
        return "to enter the control group";
    }
    if (joined >= 0) {
        return setns(joined, static_cast<int>(kNamespaceKinds & ~uint64_t{CLONE_NEWPID})) == 0
                   ? nullptr
                   : "to join the other command";
    }
    const uint64_t mounts = request.root == nullptr ? 0 : CLONE_NEWNS;
    if (unshare(static_cast<int>((request.namespaces | mounts) & ~uint64_t{CLONE_NEWPID})) != 0) {
        return "to make namespaces";
    }
    if (request.host_name != nullptr && sethostname(request.host_name, strlen(request.host_name)) != 0) {
        return "to set the host name";
    }
    if (request.root == nullptr) {
        return nullptr;
    }
    if (!enter_root(request.root)) {
        return "to enter the root folder";
    }
    if (!mount_kernels_own(request.namespaces)) {
        return "to mount what the kernel tells of its namespaces";
    }
    if ((request.namespaces & CLONE_NEWPID) != 0 && !make_folders(request.folder)) {
        return "to make the working folder";
    }
    return confine_view(request);
}

/// Gives up for good all that are not in `kept`. Those that the kernel does not know end the row.
bool keep_capabilities(uint64_t kept) {
    constexpr unsigned kBits = 64;
    for (unsigned number = 0; number < kBits; ++number) {
        if ((kept >> number & 1) == 0 && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0) {
            return errno == EINVAL;
        }
    }
    return true;
}

/// Gives it the user's rights. The user's home folder lies in `user` then.
const char* become_user(RunRequest& request, User& user, char (&home)[sizeof User::home + 8]) {
    if (request.user != nullptr) {
        if (const char* failed = find_user(request.user, "/etc/passwd", "/etc/group", user)) {
            return failed;
        }
        request.add_default("HOME=", user.home, home, sizeof home);
    }
    if (!keep_capabilities(request.capabilities)) {
        return "to give up capabilities";
    }
    if (request.user != nullptr && (setgroups(static_cast<size_t>(user.group_count), user.groups) != 0 ||
                                    setgid(user.group) != 0 || setuid(user.id) != 0)) {
        return "to become the user";
    }
    if (request.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return "to do without new privileges";
    }
    return nullptr;
}

/// Keeps those in `kept` of the capabilities that the process has: nothing else does that for one which
/// executes no file.
bool drop_capabilities(uint64_t kept) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
    if (syscall(SYS_capget, &header, data) != 0) {
        return false;
    }
    constexpr unsigned kWord = 32;
    for (unsigned index = 0; index < _LINUX_CAPABILITY_U32S_3; ++index) {
        const auto mask = static_cast<uint32_t>(kept >> (kWord * index));
        data[index].permitted &= mask;
        data[index].effective &= mask;
        data[index].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) == 0;
}

/// The first process of a pid namespace, all of whose signals are blocked: until its child, the command,
/// ends.
[[noreturn]] void be_init(pid_t command) {
    constexpr int kKilled = 128;
    sigset_t all;
    sigfillset(&all);
    for (;;) {
        const int signal = sigwaitinfo(&all, nullptr);
        if (signal > 0 && signal != SIGCHLD) {
            kill(command, signal);
        }
        // After any signal: several children's ends may be one.
        int status = 0;
        for (pid_t ended = 0; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
            if (ended == command) {
                _exit(WIFSIGNALED(status) ? kKilled + WTERMSIG(status) : WEXITSTATUS(status));
            }
        }
    }
}

/// Forks: what returns is the child, which goes on as the command, in the foreground of its terminal where it
/// has one. The parent stays behind as its init, with no file open, so that the ends of its streams are its
/// own. What failed; null where nothing did.
const char* leave_to_init(uint64_t capabilities) {
    // Signals wait from before there is a command to pass them on to.
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    const pid_t command = fork();
    if (command < 0) {
        return "to make a process";
    }
    if (command > 0) {
        prctl(PR_SET_NAME, "init", 0, 0, 0);
        syscall(SYS_close_range, 0, ~0U, 0);
        if (!drop_capabilities(capabilities)) {
            _exit(127);
        }
        be_init(command);
    }
    // What its terminal sends would reach it twice if it were in the init's group.
    setpgid(0, 0);
    tcsetpgrp(STDIN_FILENO, getpid());
    return nullptr;
}

/// What failed, in the new process, before it could become the program. `told` is where that will be said.
const char* become(RunRequest& request, int joined, const CommandStreams& theirs, int told) {
    setsid();
    if (theirs.terminal >= 0) {
        if (ioctl(theirs.terminal, TIOCSCTTY, 0) != 0) {
            return "to have the terminal";
        }
        dup2(theirs.terminal, STDIN_FILENO);
        dup2(theirs.terminal, STDOUT_FILENO);
        dup2(theirs.terminal, STDERR_FILENO);
    } else {
        dup2(theirs.input, STDIN_FILENO);
        dup2(theirs.output, STDOUT_FILENO);
        dup2(theirs.errors, STDERR_FILENO);
    }
    // Before any name of the root's is followed: as /proc/self/fd/N, which an image may call its working
    // folder, an open folder of the agent's would lead out of it.
    if (!close_all_but(joined, told)) {
        return "to close the agent's files";
    }
    if (const char* failed = enter_namespaces(request, joined)) {
        return failed;
    }
    if (chdir(request.folder) != 0) {
        return "to enter the working folder";
    }
    for (size_t index = 0; index < request.limit_count; ++index) {
        const RunRequest::Limit& limit = request.limits[index];
        if (prlimit(0, static_cast<decltype(RLIMIT_CPU)>(limit.resource), &limit.values, nullptr) != 0) {
            return "to set a limit";
        }
    }
    User user;
    char home[sizeof user.home + 8];
    if (const char* failed = become_user(request, user, home)) {
        return failed;
    }
    if (request.has_init) {
        if (const char* failed = leave_to_init(request.capabilities)) {
            return failed;
        }
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    // Which is looked for in the command's PATH.
    environ = const_cast<char**>(request.environment);
    execvp(request.arguments[0], const_cast<char* const*>(request.arguments));
    return kToRunIt;
}

void close_all(const CommandStreams& streams) {
    const int all[] = {streams.input, streams.output, streams.errors, streams.terminal};
    for (const int fd : all) {
        if (fd >= 0) {
            close(fd);
        }
    }
}

bool make_streams(const RunRequest& request, int root, CommandStreams& ours, CommandStreams& theirs) {
    if (request.has_terminal) {
        Pair terminal;
        const bool made = make_terminal(terminal, root);
        ours.terminal = terminal.ours;
        theirs.terminal = terminal.theirs;
        if (made) {
            set_size(terminal.ours, request.rows, request.columns);
        }
        return made;
    }
    Pair input;
    Pair output;
    Pair errors;
    const bool made = make_pipe(input, true) && make_pipe(output, false) && make_pipe(errors, false);
    ours = {input.ours, output.ours, errors.ours, -1};
    theirs = {input.theirs, output.theirs, errors.theirs, -1};
    return made;
}

/// While one is there, what this process starts is in another's pid namespace.
struct JoinedNamespaces {
    explicit JoinedNamespaces(pid_t process) {
        if (process == 0) {
            return;
        }
        target = open_pidfd(process);
        own = open_pidfd(getpid());
        if (target < 0 || own < 0 || setns(target, CLONE_NEWPID) != 0) {
            error = errno;
        }
    }
    ~JoinedNamespaces() {
        if (own >= 0) {
            setns(own, CLONE_NEWPID);
        }
        close(own);
        close(target);
    }
    JoinedNamespaces(const JoinedNamespaces&) = delete;
    JoinedNamespaces& operator=(const JoinedNamespaces&) = delete;

    static int open_pidfd(pid_t process) { return static_cast<int>(syscall(SYS_pidfd_open, process, 0)); }
    int target = -1;
    int own = -1;
    int error = 0;
};

/// What the new process tells before it is the program: nothing where it becomes it.
struct Told {
    int error;
    const char* what;  // in both processes the same address
};

}  // namespace

bool RunRequest::take(const Field& field) {
    switch (field.tag) {
        case kArgument:
            return add_word(arguments, argument_count_, field.text());
        case kEnvironment:
            return add_word(environment, environment_count_, field.text());
        case kRoot:
            return (root = field.text()) != nullptr;
        case kPath:
            return (folder = field.text()) != nullptr;
        case kCapabilities:
            return field.number(capabilities);
        case kRows:
            has_terminal = true;
            return take_size(field, rows);
        case kColumns:
            return take_size(field, columns);
        case kNamespaces:
            return field.number(namespaces) && (namespaces & ~kNamespaceKinds) == 0;
        case kJoined:
            joins = true;
            return take_word(field, joined);
        case kHostName:
            return (host_name = field.text()) != nullptr && strlen(host_name) <= HOST_NAME_MAX;
        case kGroup:
            return (group = field.text()) != nullptr;
        case kUser:
            return (user = field.text()) != nullptr;
        case kNoNewPrivileges:
            return take_flag(field, no_new_privileges);
        case kInit:
            return take_flag(field, has_init);
        case kLimit:
            return take_limit(field, *this);
        case kHidden:
            return add_word(hidden, hidden_count_, field.text(), kMostPlaces);
        case kUnwritable:
            return add_word(unwritable, unwritable_count_, field.text(), kMostPlaces);
        default:
            return false;
    }
}

bool RunRequest::parse(const Frame& frame, RunWords& words) {
    arguments = words.arguments;
    environment = words.environment;
    arguments[0] = environment[0] = hidden[0] = unwritable[0] = nullptr;
    FieldReader fields{frame};
    for (Field field; fields.next(field);) {
        if (!take(field)) {
            return false;
        }
    }
    // Who joins another gets what that has; and no change of a view or a name may reach the agent's own.
    const bool is_alone =
        namespaces != 0 || root != nullptr || host_name != nullptr || hidden_count_ + unwritable_count_ > 0;
    const bool may_be_named = host_name == nullptr || (namespaces & CLONE_NEWUTS) != 0;
    const bool may_be_changed = hidden_count_ + unwritable_count_ == 0 || root != nullptr;
    const bool may_have_init = !has_init || (namespaces & CLONE_NEWPID) != 0;
    return !fields.is_bad() && argument_count_ > 0 && !(joins && is_alone) && may_be_named &&
           may_be_changed && may_have_init;
}

void RunRequest::add_default(const char* name, const char* value, char* room, size_t size) {
    for (size_t index = 0; index < environment_count_; ++index) {
        if (strncmp(environment[index], name, strlen(name)) == 0) {
            return;
        }
    }
    snprintf(room, size, "%s%s", name, value);
    environment[environment_count_++] = room;
    environment[environment_count_] = nullptr;
}

bool close_all_but(int one, int other) {
    const int both[] = {one < other ? one : other, one < other ? other : one};
    unsigned first = STDERR_FILENO + 1;
    for (const int kept : both) {
        const auto number = static_cast<unsigned>(kept);
        if (kept > STDERR_FILENO && number > first && syscall(SYS_close_range, first, number - 1, 0) != 0) {
            return false;
        }
        first = kept > STDERR_FILENO ? number + 1 : first;
    }
    return syscall(SYS_close_range, first, ~0U, 0) == 0;
}

void set_size(int terminal, uint16_t rows, uint16_t columns) {
    const winsize size{rows, columns, 0, 0};
    ioctl(terminal, TIOCSWINSZ, &size);
}

Failure start(RunRequest& request, pid_t joined, int root, pid_t& process, CommandStreams& streams) {
    CommandStreams theirs;
    Pair told;
    JoinedNamespaces others{request.joins ? joined : 0};
    if (others.error != 0) {
        return {others.error, "to join the other command"};
    }
    if (!make_streams(request, root, streams, theirs) || !make_pipe(told, false)) {
        const int error = errno;
        close_all(streams);
        close_all(theirs);
        return {error, request.has_terminal ? "to make a terminal" : "to make pipes"};
    }
    // fork(2), into a pid namespace of its own where it gets one.
    process = static_cast<pid_t>(syscall(SYS_clone, (request.namespaces & CLONE_NEWPID) | SIGCHLD, nullptr,
                                         nullptr, nullptr, nullptr));
    if (process == 0) {
        const char* what = become(request, others.target, theirs, told.theirs);
        const Told failure{errno, what};
        [[maybe_unused]] const ssize_t written = write(told.theirs, &failure, sizeof failure);
        _exit(127);
    }
    const int error = errno;
    close_all(theirs);
    close(told.theirs);
    Failure result{process < 0 ? error : 0, "to make a process"};
    Told failure{};
    ssize_t got = 0;
    while (process > 0 && (got = read(told.ours, &failure, sizeof failure)) < 0 && errno == EINTR) {
    }
    if (got == sizeof failure) {
        result = {failure.error, failure.what};
    }
    close(told.ours);
    if (result.error != 0) {
        close_all(streams);
    }
    return result;
}

}  // namespace hull::agent
