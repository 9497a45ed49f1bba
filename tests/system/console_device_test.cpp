// Real kernels' drivers on virtio-console: hvc0 as the console, and named ports to files, sockets and pipes.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/sockets.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

const auto kWays = testing::Values(Way{"debian_pci", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"},
                                   Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"},
                                   Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                                   Way{"small_mmio", "small/bzImage", "initramfs-small", "acpi", "mmio"});
const Way kSmall{"small", "small/bzImage", "initramfs-small", "acpi"};

std::string name_of_way(const testing::TestParamInfo<Way>& way) {
    return way.param.name;
}

/// What `seq 1 N` prints.
std::string numbers(int count) {
    std::string text;
    for (int i = 1; i <= count; ++i) {
        text += std::to_string(i) + "\n";
    }
    return text;
}
constexpr int kMany = 200'000;  // 1.3 MiB

/// Writes all of it, to somebody who may be slow.
void send_slowly(int fd, const std::string& text) {
    constexpr size_t kPiece = 40'000;
    for (size_t at = 0; at < text.size(); at += kPiece) {
        write_all(fd, text.substr(at, kPiece));
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
}

/// Reads so much, slower than anybody writes; less where the other side ends or nothing comes for long.
std::string read_slowly(int fd, size_t size) {
    std::string text;
    std::array<char, 20'000> piece{};
    while (text.size() < size) {
        pollfd entry{fd, POLLIN, 0};
        if (poll(&entry, 1, 60'000) <= 0) {
            break;
        }
        const ssize_t got = read(fd, piece.data(), piece.size());
        if (got <= 0) {
            break;
        }
        text.append(piece.data(), static_cast<size_t>(got));
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    return text;
}

class VirtioConsole : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Kernels, VirtioConsole, kWays, name_of_way);

TEST_P(VirtioConsole, IsATerminalOfTheRightSize) {
    HullProcess hull{boot(GetParam(), "", {"--console", "virtio", "--timing"}), HullProcess::Input::terminal};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("tty; stty size\r");
    ASSERT_TRUE(hull.wait_for("/dev/hvc0"));
    ASSERT_TRUE(hull.wait_for("31 97")) << "the size at the start";
    const winsize size{.ws_row = 40, .ws_col = 120, .ws_xpixel = 0, .ws_ypixel = 0};
    ASSERT_EQ(ioctl(hull.terminal(), TIOCSWINSZ, &size), 0);
    kill(hull.keeper(), SIGWINCH);  // which a shell's job gets from its terminal
    hull.type("until stty size | grep -x '40 120'; do usleep 10000; done\r");
    ASSERT_TRUE(hull.wait_for("\n40 120")) << "a new size";
    hull.type("sleep 1000\r");
    std::this_thread::sleep_for(std::chrono::seconds{1});
    hull.type("\x03");
    hull.type("echo still-$((1 + 1))\r");
    ASSERT_TRUE(hull.wait_for("still-2"));
    hull.type("\x01x");
    EXPECT_EQ(hull.wait(), 14);
    EXPECT_THAT(hull.out() + hull.err(), HasSubstr("first line of init after"));
}

TEST_P(VirtioConsole, NothingIsLostInEitherDirection) {
    HullProcess hull{boot(GetParam(), "", {"--console", "virtio"}), HullProcess::Input::pipe};
    // Before anybody is there to read it.
    hull.type("echo early-$((1 + 1)); seq 1 2000; read line; echo got: $line; poweroff -f\nlate words\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("early-2\r\n"));
    std::string expected;
    for (int i = 1; i <= 2000; ++i) {
        expected += std::to_string(i) + "\r\n";
    }
    EXPECT_THAT(hull.out(), HasSubstr(expected));
    EXPECT_THAT(hull.out(), HasSubstr("got: late words\r\n"));
}

TEST(VirtioConsoleHost, AGuestWhoseOutputNobodyReadsGoesOn) {
    HullProcess hull{boot(kSmall, "", {"--console", "virtio"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // More than the pipe holds; the unit tests of ConsoleOutput go beyond Hull's own buffer as well.
    hull.make_output_narrow();
    hull.type("yes 0123456789abcdef | head -c 20000; poweroff -f\n");
    EXPECT_EQ(hull.wait_unread(), 0) << hull.err();
}

TEST(VirtioConsoleHost, GoesToAFileAndEarlyMessagesGoThereToo) {
    const TemporaryFolder folder;
    const fs::path path = folder.path() / "console";
    HullProcess hull{boot(kSmall, "hull.run=poweroff earlyprintk=ttyS0 loglevel=7",
                          {"--console", "virtio:file:" + path.string()})};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_EQ(hull.out(), "");
    EXPECT_THAT(contents_of(path), HasSubstr("hull: init is up"));
    EXPECT_THAT(contents_of(path), HasSubstr("Booting paravirtualized kernel"));
}

/// Defines `p NAME`, the device of a port.
constexpr const char* kFindPort =
    "p() { echo /dev/$(basename $(dirname $(grep -lx $1 /sys/class/virtio-ports/*/name))); }\n";

class Ports : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Ports, kWays, name_of_way);

TEST_P(Ports, CarryMegabytesToAFileASocketAndAPipe) {
    const TemporaryFolder folder;
    const fs::path at = folder.path();
    HullProcess hull{
        boot(GetParam(), "",
             {"--port", "log,file=" + (at / "log").string(), "--port",
              "talk,socket=" + (at / "talk").string(), "--port", "pair,pipe=" + (at / "pair").string()}),
        HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    const std::string text = numbers(kMany);
    hull.type(kFindPort);
    hull.type("seq 1 " + std::to_string(kMany) + " >/tmp/n; cat $(p talk); echo nobody-$((1 + 1))\n");
    ASSERT_TRUE(hull.wait_for("nobody-2")) << "a port that nobody is at should be at its end";

    // To the host, with readers slower than the guest, at the same time.
    UniqueFd client = connect_unix(at / "talk");
    const UniqueFd from_pipe{open((at / "pair.out").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    hull.type(
        "cat /tmp/n >$(p talk) & cat /tmp/n >$(p pair) & cat /tmp/n >$(p log); echo logged-$((1 + 1))\n");
    ASSERT_TRUE(hull.wait_for("logged-2")) << "a slow port should hold up no other";
    EXPECT_TRUE(read_slowly(client.get(), text.size()) == text);
    EXPECT_TRUE(read_slowly(from_pipe.get(), text.size()) == text);
    hull.type("wait; echo all-$((1 + 1))\n");
    ASSERT_TRUE(hull.wait_for("all-2"));

    // To the guest: what is sent before somebody reads waits.
    const UniqueFd to_pipe{open((at / "pair.in").c_str(), O_WRONLY | O_CLOEXEC)};
    std::thread sender{[&] {
        send_slowly(client.get(), text);
        client.reset();
    }};
    std::thread piper{[&] { send_slowly(to_pipe.get(), text); }};
    hull.type("sleep 1; cat $(p talk) | cmp - /tmp/n && echo whole-$((1 + 1))\n");
    EXPECT_TRUE(hull.wait_for("whole-2"));
    hull.type("head -c " + std::to_string(text.size()) +
              " $(p pair) | cmp - /tmp/n && echo piped-$((1 + 1))\n");
    EXPECT_TRUE(hull.wait_for("piped-2"));
    sender.join();
    piper.join();

    // The next client, behind a reset of the device; and what is sent last is not lost.
    hull.type(
        "d=$(basename $(readlink -f /sys/class/virtio-ports/$(basename $(p talk))/device)); "
        "cd /sys/bus/virtio/drivers/virtio_console; echo $d >unbind; echo $d >bind; cd /; sleep 1\n");
    const UniqueFd next = connect_unix(at / "talk");
    write_all(next.get(), "who is there\n");
    hull.type(
        "read line <$(p talk); echo heard: $line; cat /tmp/n >$(p talk); cat /tmp/n >$(p log); poweroff "
        "-f\n");
    EXPECT_TRUE(hull.wait_for("heard: who is there"));
    const std::string last = read_slowly(next.get(), text.size());
    EXPECT_EQ(last.size(), text.size()) << "what was sent before the end";
    EXPECT_TRUE(last == text) << last.substr(0, 60) << "…"
                              << last.substr(last.size() - std::min<size_t>(60, last.size()));
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_TRUE(contents_of(at / "log") == text + text);
    for (const char* name : {"talk", "pair.in", "pair.out"}) {
        EXPECT_FALSE(fs::exists(at / name)) << name;
    }
    EXPECT_EQ(hull.err(), "");
}

TEST(PortFiles, AreGoneWhereTheMachineIsKilledAndReplacedWhereTheKeeperWas) {
    const TemporaryFolder folder;
    const fs::path at = folder.path() / "talk";
    for (const bool keeper : {true, false}) {
        HullProcess hull{boot(kSmall, "", {"--port", "talk,socket=" + at.string()}),
                         HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));  // the second time in spite of what the first has left
        EXPECT_TRUE(fs::exists(at));
        HullProcess second{boot(kSmall, "", {"--port", "talk,socket=" + at.string()})};
        EXPECT_EQ(second.wait(), 4);
        EXPECT_THAT(second.err(), HasSubstr("another program does"));
        const pid_t machine = hull.machine();
        kill(keeper ? hull.keeper() : machine, SIGKILL);
        hull.wait();
        for (int i = 0; i < 500 && kill(machine, 0) == 0; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds{20});
        }
        EXPECT_EQ(fs::exists(at), keeper);
    }
}

}  // namespace
}  // namespace hull::test
