#include "vmm/main/helper_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/privileges.h"
#include "base/small_file.h"
#include "vmm/main/subordinate_ids.h"

namespace hull {

namespace {

constexpr int kFirstDescriptor = 3;

/// As fork(), into these new namespaces.
pid_t fork_into(unsigned long namespaces) {
    return static_cast<pid_t>(syscall(SYS_clone, namespaces | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

constexpr char kYes = 'y';
constexpr char kNo = 'n';

/// What the keeper says about the users of this process's namespace.
bool is_told_yes(int fd) {
    char answer = kNo;
    return read(fd, &answer, 1) == 1 && answer == kYes;
}

/// In the new process, whose keeper has one thread: becomes the program, or says why not into `told`.
[[noreturn]] void become(const HelperProcess::Program& program, char* const* arguments, int keeper_pidfd,
                         int told) {
    const std::vector<int>& descriptors = program.descriptors;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);  // of its keeper's; a machine's memory is to have huge pages
    if (is_readable(keeper_pidfd)) {        // it died before the line above
        _exit(0);
    }
    if (program.group != nullptr && !program.group->enter()) {
        constexpr std::string_view kWhy = "it cannot be put into its group of processes";
        [[maybe_unused]] const ssize_t written = write(told, kWhy.data(), kWhy.size());
        _exit(127);
    }
    if (program.prepare) {
        if (const std::string why = program.prepare(); !why.empty()) {
            [[maybe_unused]] const ssize_t written = write(told, why.data(), why.size());
            _exit(127);
        }
    }
    setsid();  // what a terminal sends to the keeper is not for its helpers
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    const int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    // Out of the way of the numbers that they get, and then to these.
    const auto end = kFirstDescriptor + static_cast<int>(descriptors.size());
    int spare = end;
    for (const int fd : descriptors) {
        spare = std::max(spare, fd + 1);
    }
    int number = 0;
    for (const int fd : descriptors) {
        dup2(fd, spare + number++);
    }
    for (number = kFirstDescriptor; number < end; ++number) {
        dup2(spare + number - kFirstDescriptor, number);
    }
    close_range(static_cast<unsigned>(end), ~0U, 0);
    execv(program.file.c_str(), arguments);
    _exit(127);
}

}  // namespace

UniqueFd open_pidfd(pid_t pid) {
    UniqueFd fd{static_cast<int>(syscall(SYS_pidfd_open, pid, 0))};
    if (!fd.valid()) {
        throw Error{ExitStatus::host_unfit, "cannot watch a process (pidfd_open)", errno_text(errno),
                    "use Linux 5.3 or later"};
    }
    return fd;
}

HelperProcess::HelperProcess(const Program& program) {
    const std::string tried = "cannot start " + program.name + " ('" + program.file.string() + "')";
    if (access(program.file.c_str(), X_OK) != 0) {
        throw Error{ExitStatus::bad_file, tried, errno_text(errno), "is it installed?"};
    }
    std::vector<char*> arguments{const_cast<char*>(program.name.c_str())};
    for (const std::string& argument : program.arguments) {
        arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        throw Error{ExitStatus::no_resources, tried, errno_text(errno),
                    "raise the limit of files (ulimit -n)"};
    }
    UniqueFd told{ends[0]};
    UniqueFd to_tell{ends[1]};
    int go[2];
    if (pipe2(go, O_CLOEXEC) != 0) {
        throw Error{ExitStatus::no_resources, tried, errno_text(errno),
                    "raise the limit of files (ulimit -n)"};
    }
    const UniqueFd wait_for_users{go[0]};
    UniqueFd users_are_there{go[1]};
    const UniqueFd keeper = open_pidfd(getpid());
    const uid_t user = geteuid();
    const gid_t group = getegid();
    constexpr unsigned long kApart = CLONE_NEWPID | CLONE_NEWNS;
    pid_t pid = program.is_apart ? fork_into(kApart) : fork();
    const bool is_in_user_namespace = pid < 0 && program.is_apart && errno == EPERM;
    std::optional<SubordinateIds> ids;
    if (is_in_user_namespace) {
        ids = program.has_users ? SubordinateIds::of(user) : std::nullopt;
        pid = fork_into(kApart | CLONE_NEWUSER);
    }
    if (pid < 0 && program.is_apart && errno != EAGAIN && errno != ENOMEM) {
        throw Error{
            ExitStatus::jail_incomplete, tried, "it needs namespaces: " + errno_text(errno),
            "permit users to make them (as root: sysctl user.max_user_namespaces=10000) or start Hull "
            "as root; a user network does without by --jail-without namespaces"};
    }
    if (pid < 0) {
        throw Error{ExitStatus::no_resources, tried, errno_text(errno),
                    "raise the limit of processes (ulimit -u)"};
    }
    if (pid == 0) {
        if (is_in_user_namespace && !(ids && is_told_yes(wait_for_users.get())) &&
            !map_user(0, user, group)) {
            constexpr std::string_view kWhy = "its user namespace cannot be set up";
            [[maybe_unused]] const ssize_t written = write(to_tell.get(), kWhy.data(), kWhy.size());
            _exit(127);
        }
        become(program, arguments.data(), keeper.get(), to_tell.get());
    }
    pidfd_ = open_pidfd(pid);
    to_tell.reset();
    if (ids) {
        const char answer = ids->map(pid) ? kYes : kNo;
        [[maybe_unused]] const ssize_t written = write(users_are_there.get(), &answer, 1);
    }
    if (const std::string why = read_all(told.get()); !why.empty()) {
        end();
        throw Error{ExitStatus::host_unfit, tried, why};
    }
}

HelperProcess::~HelperProcess() {
    end();
}

std::string output_of(const std::string& name, const std::string& script, const std::string& argument) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a pipe", errno_text(errno)};
    }
    const UniqueFd out{ends[0]};
    UniqueFd in{ends[1]};
    const HelperProcess helper{
        {.name = name, .file = "/bin/sh", .arguments = {"-c", script, argument}, .descriptors = {in.get()}}};
    in.reset();
    return read_all(out.get());
}

void HelperProcess::end() {
    if (!pidfd_.valid()) {
        return;
    }
    syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    siginfo_t ignored;
    while (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &ignored, WEXITED) < 0 &&
           errno == EINTR) {
    }
    pidfd_.reset();
}

std::filesystem::path own_file(const std::string& name) {
    std::error_code ignored;
    const std::filesystem::path folder =
        std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    for (const std::filesystem::path& file :
         {folder / name, folder / "../libexec/hull" / name, folder / "../../bin" / name}) {
        if (access(file.c_str(), R_OK) == 0) {
            return file;
        }
    }
    throw Error{ExitStatus::bad_file, "cannot find '" + name + "', a part of Hull",
                "it is neither in " + folder.string() + " nor in its ../libexec/hull or ../../bin",
                "build or install all of Hull"};
}

}  // namespace hull
