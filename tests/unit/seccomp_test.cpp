// What the filters do, each time in a process of its own, since they stay.
#include "vmm/jail/seccomp.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/thread_guard.h"
#include "base/unique_fd.h"
#include "base/worker_thread.h"
#include "tests/support/files.h"
#include "tests/support/fresh_process.h"

namespace hull::jail {
namespace {

/// Runs `body` in a process whose only thread is guarded as `kind`; what it answers is the exit status.
test::Ended run_guarded(ThreadKind kind, Refusal how, const std::function<int()>& body) {
    test::Pipe errors = test::make_pipe();
    const pid_t child = fork();
    if (child == 0) {
        dup2(errors.write_end.get(), STDERR_FILENO);
        install_thread_guard(how);
        guard_this_thread(kind);
        syscall(SYS_exit_group, body());
    }
    errors.write_end.reset();
    test::Ended ended{.status = 0, .errors = test::read_up_to(errors.read_end.get(), SIZE_MAX)};
    waitpid(child, &ended.status, 0);
    return ended;
}

// The kind that may end a process, so that what it answers arrives.
constexpr ThreadKind kMain = ThreadKind::main;

TEST(Seccomp, ARefusedCallFailsAndIsToldOnce) {
    const test::Ended ended = run_guarded(kMain, Refusal::fail, [] {
        for (int round = 0; round < 3; ++round) {
            errno = 0;
            if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) != -1 || errno != EPERM) {
                return 1;
            }
        }
        errno = 0;
        return socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM ? 0 : 2;
    });
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(ended.errors, "hull: warning: the jail refuses a main thread the system call openat (" +
                                std::to_string(SYS_openat) +
                                ")\n"
                                "hull: warning: the jail refuses a main thread the system call socket (" +
                                std::to_string(SYS_socket) + ")\n");
}

TEST(Seccomp, StrictKills) {
    const test::Ended ended = run_guarded(kMain, Refusal::kill, [] {
        open("/etc/passwd", O_RDONLY | O_CLOEXEC);
        return 0;
    });
    ASSERT_TRUE(WIFSIGNALED(ended.status)) << ended.status;
    EXPECT_EQ(WTERMSIG(ended.status), SIGSYS);
    EXPECT_EQ(run_guarded(kMain, Refusal::kill, [] { return 0; }).status, 0) << "nothing was refused";
}

TEST(Seccomp, AnIoctlIsLookedAtByItsRequest) {
    const UniqueFd file{open("/dev/null", O_RDONLY | O_CLOEXEC)};
    const test::Ended ended = run_guarded(kMain, Refusal::fail, [&file] {
        winsize size{};
        errno = 0;
        if (ioctl(file.get(), TIOCGWINSZ, &size) != -1 || errno != ENOTTY) {
            return 1;  // the kernel itself says no to that
        }
        errno = 0;
        if (ioctl(file.get(), TIOCSTI, "x") != -1 || errno != EPERM) {
            return 2;
        }
        errno = 0;
        return ioctl(file.get(), KVM_RUN, 0) == -1 && errno == EPERM ? 0 : 3;
    });
    EXPECT_EQ(ended.status, 0) << ended.errors;
}

TEST(Seccomp, NoThreadCanBeMadeAndNoFilterChanged) {
    const test::Ended ended = run_guarded(kMain, Refusal::fail, [] {
        errno = 0;
        if (syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr) != -1 || errno != EPERM) {
            return 1;
        }
        errno = 0;
        if (mprotect(nullptr, 4096, PROT_READ | PROT_EXEC) != -1 || errno != EPERM) {
            return 2;
        }
        errno = 0;
        return syscall(SYS_seccomp, 0, 0, nullptr) == -1 && errno == EPERM ? 0 : 3;
    });
    EXPECT_EQ(ended.status, 0) << ended.errors;
}

TEST(Seccomp, ACallByANumberThatNoListKnowsIsRefused) {
    const test::Ended ended = run_guarded(kMain, Refusal::fail, [] {
        // Of the 32-bit form of x86-64's calls, and beyond all.
        for (const long number : {0x4000'0000L + SYS_getpid, 100'000L}) {
            errno = 0;
            if (syscall(number) != -1 || errno != EPERM) {
                return 1;
            }
        }
        return 0;
    });
    EXPECT_EQ(ended.status, 0) << ended.errors;
    EXPECT_NE(ended.errors.find("number "), std::string::npos) << ended.errors;
}

/// Whatever a thread is for, it may have memory of its own, small and large, and log.
class SeccompKindTest : public testing::TestWithParam<ThreadKind> {};

TEST_P(SeccompKindTest, CanDoWhatEveryThreadComesTo) {
    const test::TemporaryFolder folder;
    const test::Ended ended = test::run_in_fresh_process(
        [] {
            install_thread_guard(Refusal::fail);
            WorkerThread worker{GetParam(), "worker"};
            guard_this_thread(ThreadKind::main);
            worker.call([] {
                std::vector<std::string> texts;
                for (const size_t size : {size_t{40}, size_t{4000}, size_t{4} << 20}) {
                    texts.emplace_back(size, 'x');
                }
                log_warning(std::to_string(texts.size()) + " texts");
            });
            return 0;
        },
        folder.path().string());
    EXPECT_EQ(ended.errors, "hull: warning: 3 texts\n");
    EXPECT_EQ(ended.status, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SeccompKindTest,
                         testing::Values(ThreadKind::block, ThreadKind::block_without_ring, ThreadKind::net,
                                         ThreadKind::file_share, ThreadKind::vhost_user, ThreadKind::vsock,
                                         ThreadKind::console, ThreadKind::rng));

}  // namespace
}  // namespace hull::jail
