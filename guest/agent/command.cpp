#include "guest/agent/command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace hull::agent {

namespace {

/// TIOCGPTPEER (ioctl_tty(2)), which the C library's header does not name: the other end of a terminal,
/// whatever is mounted where.
constexpr unsigned long kGetOtherEnd = 0x5441;

bool add_word(const char** words, size_t& count, const char* word) {
    if (word == nullptr || count == RunRequest::kMostWords) {
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
bool make_terminal(Pair& pair, const char* root) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/dev/pts/ptmx", root == nullptr ? "" : root) >=
        static_cast<int>(sizeof path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    pair.ours = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
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
    return unshare(CLONE_NEWNS) == 0 && chdir(root) == 0 && mount(".", "/", nullptr, MS_MOVE, nullptr) == 0 &&
           chroot(".") == 0;
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

/// What failed, in the new process, before it could become the program.
const char* become(const RunRequest& request, const CommandStreams& theirs) {
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
    if (request.root != nullptr && !enter_root(request.root)) {
        return "to enter the root folder";
    }
    if (chdir(request.folder) != 0) {
        return "to enter the working folder";
    }
    if (!keep_capabilities(request.capabilities)) {
        return "to give up capabilities";
    }
    constexpr unsigned kFirst = STDERR_FILENO + 1;
    syscall(SYS_close_range, kFirst, ~0U, CLOSE_RANGE_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    // Which is looked for in the command's PATH.
    environ = const_cast<char**>(request.environment);
    execvp(request.arguments[0], const_cast<char* const*>(request.arguments));
    return "to run it";
}

void close_all(const CommandStreams& streams) {
    const int all[] = {streams.input, streams.output, streams.errors, streams.terminal};
    for (const int fd : all) {
        if (fd >= 0) {
            close(fd);
        }
    }
}

bool make_streams(const RunRequest& request, CommandStreams& ours, CommandStreams& theirs) {
    if (request.has_terminal) {
        Pair terminal;
        const bool made = make_terminal(terminal, request.root);
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
        default:
            return false;
    }
}

bool RunRequest::parse(const Frame& frame) {
    arguments[0] = environment[0] = nullptr;
    FieldReader fields{frame};
    for (Field field; fields.next(field);) {
        if (!take(field)) {
            return false;
        }
    }
    return !fields.is_bad() && argument_count_ > 0;
}

void set_size(int terminal, uint16_t rows, uint16_t columns) {
    const winsize size{rows, columns, 0, 0};
    ioctl(terminal, TIOCSWINSZ, &size);
}

Failure start(const RunRequest& request, pid_t& process, CommandStreams& streams) {
    CommandStreams theirs;
    Pair told;
    if (!make_streams(request, streams, theirs) || !make_pipe(told, false)) {
        const int error = errno;
        close_all(streams);
        close_all(theirs);
        return {error, request.has_terminal ? "to make a terminal" : "to make pipes"};
    }
    process = fork();
    if (process == 0) {
        const char* what = become(request, theirs);
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
