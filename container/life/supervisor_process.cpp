#include "container/life/supervisor_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"
#include "base/unix_address.h"
#include "vmm/main/helper_process.h"

namespace hull::container {

namespace {

constexpr int kListener = 3;  // the supervisor's

UniqueFd listen_for(const std::filesystem::path& path) {
    const std::string tried = "cannot listen at '" + path.string() + "'";
    const auto address = UnixAddress::at(path);
    if (!address) {
        throw Error{ExitStatus::bad_file, tried, address.error(), "give a shorter --data-root"};
    }
    UniqueFd fd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    unlink(path.c_str());  // of one that was killed
    constexpr int kWaiting = 64;
    int cause = fd.valid() ? address->bind(fd.get()) : errno;
    if (cause == 0 && listen(fd.get(), kWaiting) != 0) {
        cause = errno;
    }
    if (cause != 0) {
        throw Error{ExitStatus::no_resources, tried, errno_text(cause), "check who may write there"};
    }
    return fd;
}

/// Becomes the program, in a session of its own. Answers the errno where it cannot.
int become(char* const* words, int listener) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0) {
        return errno;
    }
    if (listener == kListener ? fcntl(kListener, F_SETFD, 0) != 0 : dup2(listener, kListener) < 0) {
        return errno;
    }
    execv(words[0], words);
    return errno;
}

void start(const ContainerFiles& files, bool is_own) {
    const std::string tried = "cannot start a container's supervisor";
    const UniqueFd listener = listen_for(files.socket());
    std::string program = own_file("hull-supervisor");
    std::string folder = files.folder;
    const std::array<char*, 3> words{program.data(), folder.data(), nullptr};
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw Error{ExitStatus::no_resources, tried, errno_text(errno)};
    }
    const UniqueFd read_end{ends[0]};
    UniqueFd write_end{ends[1]};
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        // From here on only what a handler of signals may call: other threads' locks are as they were.
        setsid();
        if (is_own) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) {
                _exit(1);
            }
        } else if (const pid_t grandchild = fork(); grandchild != 0) {
            _exit(grandchild > 0 ? 0 : errno);
        }
        const int cause = become(words.data(), listener.get());
        static_cast<void>(!write(write_end.get(), &cause, sizeof cause));
        _exit(1);
    }
    write_end.reset();
    int status = 0;
    if (child < 0 || (!is_own && (waitpid(child, &status, 0) != child || status != 0))) {
        throw Error{ExitStatus::no_resources, tried, errno_text(child < 0 ? errno : EAGAIN)};
    }
    int cause = 0;
    if (read(read_end.get(), &cause, sizeof cause) == sizeof cause) {
        throw Error{ExitStatus::bad_file, tried, "'" + program + "': " + errno_text(cause)};
    }
}

}  // namespace

void start_supervisor(const ContainerFiles& files) {
    start(files, false);
}

void start_own_supervisor(const ContainerFiles& files) {
    start(files, true);
}

}  // namespace hull::container
