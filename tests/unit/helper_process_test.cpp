#include "vmm/main/helper_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>

#include "tests/support/errors.h"

namespace hull {
namespace {

std::array<UniqueFd, 2> make_pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

std::string read_all(int fd) {
    std::string text;
    std::array<char, 256> part;
    for (ssize_t got = 0; (got = read(fd, part.data(), part.size())) > 0;) {
        text.append(part.data(), static_cast<size_t>(got));
    }
    return text;
}

bool has_ended(pid_t pid) {
    for (int tenths = 0; tenths < 100; ++tenths) {
        if (kill(pid, 0) != 0) {
            return true;
        }
        usleep(100'000);
    }
    return false;
}

TEST(HelperProcess, GetsItsDescriptorsByNumberAndNoOthers) {
    auto [first_out, first_in] = make_pipe();
    auto [second_out, second_in] = make_pipe();
    const UniqueFd stray{open("/dev/null", O_RDONLY)};  // not close-on-exec
    {
        // Given in the order that is the reverse of their numbers, so that one may not be put over another.
        HelperProcess helper{{.name = "sh",
                              .file = "/bin/sh",
                              .arguments = {"-c", "echo one >&3; ls /proc/self/fd | tr '\\n' ' ' >&4; cat"},
                              .descriptors = {second_in.get(), first_in.get()}}};
        first_in.reset();
        second_in.reset();
        EXPECT_EQ(read_all(second_out.get()), "one\n");
        // Besides the five that it has, the folder that ls reads.
        EXPECT_EQ(read_all(first_out.get()), "0 1 2 3 4 5 ");
        pollfd ended{helper.pidfd(), POLLIN, 0};
        EXPECT_EQ(poll(&ended, 1, 10'000), 1) << "standard input is not empty";
    }
}

TEST(HelperProcess, EndsWithItsOwner) {
    auto [out, in] = make_pipe();
    std::optional<HelperProcess> helper{
        std::in_place, HelperProcess::Program{.name = "sh",
                                              .file = "/bin/sh",
                                              .arguments = {"-c", "echo $$ >&3; exec 3>&-; exec sleep 1000"},
                                              .descriptors = {in.get()}}};
    in.reset();
    const pid_t pid = std::stoi(read_all(out.get()));
    EXPECT_EQ(kill(pid, 0), 0);
    EXPECT_NE(getsid(pid), getsid(0)) << "a terminal's signals would reach it";
    helper.reset();
    EXPECT_NE(kill(pid, 0), 0);
}

TEST(HelperProcess, EndsWithAKeeperThatIsKilled) {
    auto [out, in] = make_pipe();
    const pid_t keeper = fork();
    if (keeper == 0) {
        HelperProcess helper{{.name = "sh",
                              .file = "/bin/sh",
                              .arguments = {"-c", "echo $$ >&3; exec 3>&-; exec sleep 1000"},
                              .descriptors = {in.get()}}};
        in.reset();
        pause();
        _exit(0);
    }
    in.reset();
    const pid_t pid = std::stoi(read_all(out.get()));
    kill(keeper, SIGKILL);
    waitpid(keeper, nullptr, 0);
    EXPECT_TRUE(has_ended(pid));
}

TEST(HelperProcess, IsPreparedBeforeItIsTheProgramAndTellsWhatFails) {
    auto [out, in] = make_pipe();
    const HelperProcess::Program program{.name = "sh",
                                         .file = "/bin/sh",
                                         .arguments = {"-c", "echo $PREPARED >&3"},
                                         .descriptors = {in.get()},
                                         .prepare = [] {
                                             setenv("PREPARED", "yes", 1);
                                             return std::string{};
                                         }};
    const HelperProcess helper{program};
    in.reset();
    EXPECT_EQ(read_all(out.get()), "yes\n");
    EXPECT_EQ(getenv("PREPARED"), nullptr);
    test::expect_error(
        [] {
            HelperProcess{
                {.name = "sh", .file = "/bin/sh", .arguments = {}, .descriptors = {}, .prepare = [] {
                     return std::string{"it cannot be confined"};
                 }}};
        },
        ExitStatus::host_unfit, {"cannot start sh ('/bin/sh'): it cannot be confined"});
}

TEST(HelperProcess, APartOfHullThatIsMissingIsTold) {
    test::expect_error(
        [] { HelperProcess{{.name = "none", .file = "/nowhere/none", .arguments = {}, .descriptors = {}}}; },
        ExitStatus::bad_file, {"cannot start none", "/nowhere/none", "No such file"});
    test::expect_error([] { own_file("hull-nothing"); }, ExitStatus::bad_file,
                       {"hull-nothing", "libexec/hull", "install"});
}

}  // namespace
}  // namespace hull
