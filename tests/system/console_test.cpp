// The console as a person and as a script use it, and what is left when a process dies.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <termios.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

std::vector<std::string> boot_small(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"boot", "--kernel", guest_file("small/bzImage"), "--initramfs",
                                       guest_file("initramfs-small")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

/// Local modes and output flags of the terminal behind a master.
std::string mode_of(int terminal) {
    termios mode{};
    tcgetattr(terminal, &mode);
    return std::to_string(mode.c_iflag) + " " + std::to_string(mode.c_oflag) + " " +
           std::to_string(mode.c_lflag);
}

bool is_gone_within_patience(pid_t process) {
    for (int i = 0; i < 500; ++i) {
        std::ifstream state{"/proc/" + std::to_string(process) + "/stat"};
        std::string line;
        if (!std::getline(state, line) || line.find(") Z ") != std::string::npos) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    return false;
}

TEST(Console, WhatIsTypedReachesTheShellAndItsAnswerComesBack) {
    HullProcess hull{boot_small(), HullProcess::Input::terminal};
    const std::string before = mode_of(hull.terminal());
    ASSERT_TRUE(hull.wait_for("hull#"));
    EXPECT_NE(mode_of(hull.terminal()), before) << "the terminal should be raw while the guest runs";
    hull.type("echo $((6 * 7))-answer\r");
    EXPECT_TRUE(hull.wait_for("42-answer"));
    hull.type("poweroff -f\r");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_EQ(mode_of(hull.terminal()), before);
}

TEST(Console, CtrlCReachesTheGuestAndCtrlAXEndsTheMachine) {
    HullProcess hull{boot_small(), HullProcess::Input::terminal};
    const std::string before = mode_of(hull.terminal());
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("sleep 1000\r");
    std::this_thread::sleep_for(std::chrono::seconds{1});
    hull.type("\x03");
    hull.type("echo still-$((1 + 1))\r");
    EXPECT_TRUE(hull.wait_for("still-2"));
    hull.type("\x01x");
    EXPECT_EQ(hull.wait(), 14);
    EXPECT_EQ(mode_of(hull.terminal()), before);
}

TEST(Console, InputThatWaitsInAPipeBeforeTheBootIsNotLost) {
    HullProcess hull{boot_small({"--cmdline", "hull.run=echo"}), HullProcess::Input::pipe};
    hull.type("early bird\n");
    hull.close_input();
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("read: early bird"));
}

TEST(Console, NothingIsLostOnALongOutput) {
    HullProcess hull{boot_small(), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("seq 1 1000; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    std::string expected;
    for (int i = 1; i <= 1000; ++i) {
        expected += std::to_string(i) + "\r\n";
    }
    EXPECT_THAT(hull.out(), HasSubstr(expected));
}

TEST(Console, AGuestWhoseOutputNobodyReadsGoesOn) {
    HullProcess hull{boot_small(), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // More than the pipe holds; the unit tests of ConsoleOutput go beyond Hull's own buffer as well.
    hull.make_output_narrow();
    hull.type("yes 0123456789abcdef | head -c 20000; poweroff -f\n");
    EXPECT_EQ(hull.wait_unread(), 0) << hull.err();
}

TEST(Console, GoesToAFile) {
    const std::string path = testing::TempDir() + "hull-console-" + std::to_string(getpid());
    HullProcess hull{boot_small({"--cmdline", "hull.run=poweroff", "--console", "file:" + path})};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_EQ(hull.out(), "");
    EXPECT_THAT(contents_of(path), HasSubstr("hull: init is up"));
    std::filesystem::remove(path);
}

TEST(Death, AKilledMachineIsToldAndTheTerminalRestored) {
    HullProcess hull{boot_small(), HullProcess::Input::terminal};
    const std::string before = mode_of(hull.terminal());
    ASSERT_TRUE(hull.wait_for("hull#"));
    kill(hull.machine(), SIGKILL);
    EXPECT_EQ(hull.wait(), 15);
    EXPECT_THAT(hull.err(), HasSubstr("signal 9"));
    EXPECT_EQ(mode_of(hull.terminal()), before);
}

TEST(Death, WithoutItsKeeperTheMachineRestoresTheTerminalAndEnds) {
    HullProcess hull{boot_small(), HullProcess::Input::terminal};
    const std::string before = mode_of(hull.terminal());
    ASSERT_TRUE(hull.wait_for("hull#"));
    const pid_t machine = hull.machine();
    kill(hull.keeper(), SIGKILL);
    EXPECT_EQ(hull.wait(), 1000 + SIGKILL);
    EXPECT_TRUE(is_gone_within_patience(machine));
    EXPECT_EQ(mode_of(hull.terminal()), before);
}

}  // namespace
}  // namespace hull::test
