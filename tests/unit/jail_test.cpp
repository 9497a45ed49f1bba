// What a process can still do once its jail is closed. What is seen from outside is
// tests/system/jail_test.cpp's.
#include "vmm/jail/jail.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/support/files.h"
#include "vmm/jail/landlock.h"

namespace hull::jail {
namespace {

using Layer = JailConfig::Layer;

/// Runs `body` in a jail that a process of its own keeps, as root or, where `ordinary`, as user 1234; what it
/// answers comes back, or the error of making the jail.
std::string in_jail(const JailConfig& config, bool ordinary, const std::function<std::string()>& body) {
    test::Pipe told = test::make_pipe();
    const pid_t keeper = fork();
    if (keeper == 0) {
        if (ordinary && geteuid() == 0 &&
            (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0)) {
            _exit(1);
        }
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // as a program that this user started
        std::string answer;
        try {
            const Jail cell{config};
            const pid_t machine = cell.fork_machine();
            if (machine > 0) {
                waitpid(machine, nullptr, 0);
                _exit(0);
            }
            const int fd = told.write_end.get();
            cell.close({&fd, 1}, false);
            answer = body();
        } catch (const Error& error) {
            answer = error.what();
        }
        test::write_all(told.write_end.get(), answer);
        _exit(0);
    }
    told.write_end.reset();
    std::string answer = test::read_up_to(told.read_end.get(), 10'000);
    waitpid(keeper, nullptr, 0);
    return answer;
}

JailConfig whole() {
    JailConfig config;
    if (landlock_version() < 1) {
        config.without.insert(Layer::landlock);
    }
    return config;
}

/// What each attempt in a list comes to: "name errno\n" for those that succeed or fail for another reason.
class Attempts {
  public:
    template <typename Attempt>
    void expect(const char* name, std::initializer_list<int> causes, Attempt attempt) {
        errno = 0;
        const bool done = attempt() >= 0;
        const int cause = errno;
        for (const int expected : causes) {
            if (!done && cause == expected) {
                return;
            }
        }
        told_ += std::string{name} + (done ? " succeeds\n" : " " + errno_text(cause) + "\n");
    }
    [[nodiscard]] const std::string& told() const { return told_; }

  private:
    std::string told_;
};

class JailTest : public testing::TestWithParam<bool> {};

TEST_P(JailTest, NothingIsWithinReach) {
    const pid_t outside = getpid();
    const std::string told = in_jail(whole(), GetParam(), [outside] {
        Attempts attempts;
        attempts.expect("open", {EACCES, ENOENT}, [] { return open("/etc/passwd", O_RDONLY | O_CLOEXEC); });
        attempts.expect("proc", {EACCES, ENOENT}, [] { return open("/proc/self/mem", O_RDWR | O_CLOEXEC); });
        attempts.expect("out", {EACCES, ENOENT}, [] { return open("../../../etc", O_PATH | O_CLOEXEC); });
        attempts.expect("create", {EACCES, EROFS},
                        [] { return open("/x", O_CREAT | O_RDWR | O_CLOEXEC, 0600); });
        attempts.expect("mount", {EPERM}, [] { return mount("x", "/", "tmpfs", 0, nullptr); });
        attempts.expect("chroot", {EPERM}, [] { return chroot("/"); });
        attempts.expect("kill", {ESRCH}, [outside] { return kill(outside, 0); });
        attempts.expect("kill parent", {ESRCH, EINVAL, EPERM},
                        [] { return getppid() == 0 ? (errno = ESRCH, -1) : 0; });
        attempts.expect("user namespace", {EPERM}, [] { return unshare(CLONE_NEWUSER); });
        attempts.expect("network namespace", {EPERM}, [] { return unshare(CLONE_NEWNET); });
        attempts.expect("become root", {EPERM, EINVAL}, [] { return setresuid(0, 0, 0); });
        attempts.expect("host name", {EPERM}, [] { return sethostname("x", 1); });
        attempts.expect("raw socket", {EPERM},
                        [] { return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP); });
        attempts.expect("exec", {EACCES, ENOENT}, [] { return execl("/bin/true", "true", nullptr); });
        attempts.expect("connect", {ENETUNREACH, EACCES}, [] {
            const UniqueFd any{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_port = htons(22);
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            return connect(any.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        });
        attempts.expect("descriptors", {EBADF}, [] {
            for (int fd = 3; fd < 100; ++fd) {
                if (fcntl(fd, F_GETFD) >= 0) {
                    // The one that it was given.
                    return fcntl(fd, F_GETFL) == O_WRONLY ? fcntl(fd + 1, F_GETFD) : 0;
                }
            }
            return -1;
        });
        return attempts.told() + "end";
    });
    EXPECT_EQ(told, "end");
}

TEST_P(JailTest, ThreadsAndErrorsWorkInIt) {
    const std::string told = in_jail(whole(), GetParam(), [] {
        std::string text = std::to_string(getpid()) + " " + std::to_string(gettid());
        std::thread{[&text] {
            try {
                throw std::runtime_error{" caught"};
            } catch (const std::exception& error) {
                text += error.what();
            }
        }}.join();
        return text;
    });
    EXPECT_EQ(told, "1 1 caught");
}

INSTANTIATE_TEST_SUITE_P(Users, JailTest, testing::Bool(),
                         [](const auto& ordinary) { return ordinary.param ? "ordinary_user" : "own_user"; });

}  // namespace
}  // namespace hull::jail
