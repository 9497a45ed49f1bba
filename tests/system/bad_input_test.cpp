// What a user gets who gives hull something wrong: one line, its exit status, and nothing left behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/hull_process.h"
#include "tests/support/sockets.h"
#include "tests/support/vhost_user_server.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

/// A folder with wrong files in it, made once for all tests.
class BadInput : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = testing::TempDir() + "hull-bad-input-" + std::to_string(getpid());
        fs::create_directories(folder_ / "folder");
        write("empty", "");
        write("text", "#!/bin/sh\necho this is no kernel\n");
        const std::string kernel = read(guest_file("small/bzImage"));
        write("truncated", kernel.substr(0, kernel.size() / 2));
        std::string no_64bit = kernel;
        no_64bit[0x236] = static_cast<char>(no_64bit[0x236] & ~1);  // xloadflags: XLF_KERNEL_64
        write("32bit", no_64bit);
        std::string corrupted = kernel;
        std::fill_n(corrupted.begin() + static_cast<ptrdiff_t>(kernel.size() / 2), 4096, '\x5a');
        write("corrupted", corrupted);
        fs::resize_file(write("large", "x"), uint64_t{200} << 20);
        write("malformed.json", "{\n  \"cpus\": 1,\n  \"memory\" 5\n}\n");
        write("unknown-key.json", "{\"processors\": 1}");
    }
    static void TearDownTestSuite() { fs::remove_all(folder_); }

    static fs::path write(const std::string& name, const std::string& content) {
        std::ofstream{folder_ / name, std::ios::binary} << content;
        return folder_ / name;
    }
    static std::string read(const std::string& path) {
        std::ifstream file{path, std::ios::binary};
        return {std::istreambuf_iterator<char>{file}, {}};
    }

    /// Runs hull and expects `status` and one line with `words` in it.
    static void expect(int status, const std::string& words, std::vector<std::string> arguments) {
        for (std::string& argument : arguments) {
            if (argument.starts_with("@")) {
                argument = folder_ / argument.substr(1);
            } else if (argument == "KERNEL") {
                argument = guest_file("small/bzImage");
            }
        }
        SCOPED_TRACE(testing::PrintToString(arguments));
        HullProcess hull{arguments};
        EXPECT_EQ(hull.wait(), status) << hull.err();
        EXPECT_THAT(hull.err(), HasSubstr(words));
        EXPECT_EQ(std::count(hull.err().begin(), hull.err().end(), '\n'), 1) << hull.err();
        EXPECT_EQ(hull.out(), "");
    }

    static inline fs::path folder_;
};

constexpr int kUsage = 2;
constexpr int kBadFile = 4;
constexpr int kNoResources = 5;

TEST_F(BadInput, Kernels) {
    expect(kBadFile, "No such file", {"boot", "--kernel", "@missing"});
    expect(kBadFile, "folder", {"boot", "--kernel", "@folder"});
    expect(kBadFile, "empty", {"boot", "--kernel", "@empty"});
    expect(kBadFile, "cannot", {"boot", "--kernel", "@text"});
    expect(kBadFile, "cannot", {"boot", "--kernel", "@truncated"});
    expect(kBadFile, "cannot", {"boot", "--kernel", "@corrupted"});
    expect(kBadFile, "64", {"boot", "--kernel", "@32bit"});
}

TEST_F(BadInput, Initramfs) {
    expect(kBadFile, "No such file", {"boot", "--kernel", "KERNEL", "--initramfs", "@missing"});
    expect(kBadFile, "folder", {"boot", "--kernel", "KERNEL", "--initramfs", "@folder"});
    expect(kBadFile, "empty", {"boot", "--kernel", "KERNEL", "--initramfs", "@empty"});
    expect(kNoResources, "initramfs",
           {"boot", "--kernel", "KERNEL", "--initramfs", "@large", "--memory", "128M"});
}

TEST_F(BadInput, Disks) {
    expect(kBadFile, "No such file", {"boot", "--kernel", "KERNEL", "--disk", "/nonexistent/disk"});
    expect(kBadFile, "folder", {"boot", "--kernel", "KERNEL", "--disk", "/tmp"});
    expect(kUsage, "'fast'", {"boot", "--kernel", "KERNEL", "--disk", "x,fast"});
    const std::string disk = write("disk", std::string(512, 'x'));
    expect(kBadFile, "another disk of this one",
           {"boot", "--kernel", "KERNEL", "--disk", disk, "--disk", disk});
    const std::string odd = write("odd-disk", std::string(700, 'x'));
    expect(kBadFile, "multiple of 512", {"boot", "--kernel", "KERNEL", "--disk", odd});
    expect(kBadFile, "multiple of 512",
           {"boot", "--kernel", "KERNEL", "--disk", "part=" + disk + ",part=" + odd});
    expect(kBadFile, "another disk of this one",
           {"boot", "--kernel", "KERNEL", "--disk", "part=" + disk + ",part=" + disk});
}

TEST_F(BadInput, Vsock) {
    expect(kUsage, "3 to 4294967294", {"boot", "--kernel", "KERNEL", "--vsock", "cid=2,socket=x"});
    expect(kUsage, "more than once",
           {"boot", "--kernel", "KERNEL", "--vsock", "cid=3,socket=x", "--vsock", "cid=4,socket=y"});
    expect(kBadFile, "No such file",
           {"boot", "--kernel", "KERNEL", "--vsock", "cid=3,socket=/nowhere/at/all"});
    const std::string file = write("no-socket", "x");
    expect(kBadFile, "something else has that name",
           {"boot", "--kernel", "KERNEL", "--vsock", "cid=3,socket=" + file});
    // What fails behind the socket leaves none.
    const std::string path = folder_ / "vsock";
    expect(kBadFile, "cannot", {"boot", "--kernel", "@text", "--vsock", "cid=3,socket=" + path});
    EXPECT_FALSE(fs::exists(path));
}

TEST_F(BadInput, Ports) {
    const auto port = [](const std::string& text) {
        return std::vector<std::string>{"boot", "--kernel", "KERNEL", "--port", text};
    };
    expect(kUsage, "does not say", port("a"));
    expect(kBadFile, "No such file", port("a,file=/nowhere/at/all"));
    expect(kBadFile, "directory", port("a,file=/tmp"));
    expect(kBadFile, "No such file", port("a,socket=/nowhere/at/all"));
    expect(kBadFile, "1 to 107 bytes", port("a,socket=/tmp/" + std::string(200, 'x')));
    expect(kBadFile, "No such file", port("a,pipe=/nowhere/at/all"));
    const std::string file = write("ports-file", "x");
    expect(kBadFile, "something else has that name", port("a,socket=" + file));
    const std::string no_pipe = write("no-pipe.in", "x");
    expect(kBadFile, "no named pipe", port("a,pipe=" + no_pipe.substr(0, no_pipe.size() - 3)));
    const std::string socket = folder_ / "port-socket";
    expect(kBadFile, "another program does",
           {"boot", "--kernel", "KERNEL", "--port", "a,socket=" + socket, "--port", "b,socket=" + socket});
    EXPECT_FALSE(fs::exists(socket));
}

TEST_F(BadInput, ServersAndShares) {
    expect(kBadFile, "No such file", {"boot", "--kernel", "KERNEL", "--disk", "socket=/nonexistent/socket"});
    const std::string file = write("no-socket", "x");
    expect(kBadFile, "Connection refused", {"boot", "--kernel", "KERNEL", "--disk", "socket=" + file});
    expect(kUsage, "'readonly'", {"boot", "--kernel", "KERNEL", "--disk", "socket=x,readonly"});
    expect(kBadFile, "No such file", {"boot", "--kernel", "KERNEL", "--share", "tag=t,path=/nonexistent"});
    expect(kBadFile, "Not a directory", {"boot", "--kernel", "KERNEL", "--share", "tag=t,path=" + file});
    expect(kUsage, "same tag",
           {"boot", "--kernel", "KERNEL", "--share", "tag=t,path=/", "--share", "tag=t,path=/tmp"});
    expect(kUsage, "1 to 36", {"boot", "--kernel", "KERNEL", "--share", "path=/"});

    // A server that speaks something else.
    const fs::path socket = folder_ / "wrong-server";
    const UniqueFd listener = listen_unix(socket);
    std::thread server{[&] {
        const UniqueFd connection{accept(listener.get(), nullptr, nullptr)};
        char question[12];
        recv(connection.get(), question, sizeof question, MSG_WAITALL);
        [[maybe_unused]] const ssize_t sent =
            ::write(connection.get(), "220 mail.example ESMTP ready\r\n", 30);
        recv(connection.get(), question, sizeof question, MSG_WAITALL);
    }};
    expect(kBadFile, "no answer to request 1 of vhost-user",
           {"boot", "--kernel", "KERNEL", "--disk", "socket=" + socket.string()});
    server.join();
}

TEST_F(BadInput, Sizes) {
    expect(kUsage, "--memory", {"boot", "--kernel", "KERNEL", "--memory", "1M"});
    expect(kUsage, "--memory", {"boot", "--kernel", "KERNEL", "--memory", "lots"});
    expect(kNoResources, "memory", {"boot", "--kernel", "KERNEL", "--memory", "16M"});
    expect(kNoResources, "the host has", {"boot", "--kernel", "KERNEL", "--memory", "100000G"});
    expect(kUsage, "--cpus", {"boot", "--kernel", "KERNEL", "--cpus", "0"});
    expect(kUsage, "--cpus", {"boot", "--kernel", "KERNEL", "--cpus", "255"});
    expect(kUsage, "--cpus", {"boot", "--kernel", "KERNEL", "--cpus", "two"});
    expect(kUsage, "command line", {"boot", "--kernel", "KERNEL", "--cmdline", std::string(5000, 'x')});
}

TEST_F(BadInput, Options) {
    expect(kUsage, "no command", {});
    expect(kUsage, "fly", {"fly"});
    expect(kUsage, "speed", {"boot", "--speed", "9"});
    expect(kUsage, "more than once", {"boot", "--cpus", "1", "--cpus", "2"});
    expect(kUsage, "--platform", {"boot", "--kernel", "KERNEL", "--platform", "bios"});
    expect(kUsage, "--console", {"boot", "--kernel", "KERNEL", "--console", "lp0"});
    expect(kBadFile, "console", {"boot", "--kernel", "KERNEL", "--console", "file:/nowhere/at/all"});
    expect(kUsage, "--cmdline-raw", {"boot", "--kernel", "KERNEL", "--cmdline", "a", "--cmdline-raw", "b"});
    expect(kUsage, "loud", {"check", "--loud"});
}

TEST_F(BadInput, ConfigurationFiles) {
    expect(kUsage, "line 3", {"boot", "--config", "@malformed.json"});
    expect(kUsage, "processors", {"boot", "--config", "@unknown-key.json"});
    expect(kBadFile, "No such file", {"boot", "--config", "@missing"});
    expect(kBadFile, "empty", {"boot", "--config", "@empty"});
}

}  // namespace
}  // namespace hull::test
