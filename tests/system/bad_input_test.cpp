// What a user gets who gives hull something wrong: one line, its exit status, and nothing left behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/ordinary_user.h"
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
        const std::string kernel = contents_of(guest_file("small/bzImage"));
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

    expect(kBadFile, "No such file", {"boot", "--kernel", "KERNEL", "--net", "socket=/nonexistent/socket"});
    expect(kBadFile, "No such file",
           {"boot", "--kernel", "KERNEL", "--net", "socket=/nonexistent/socket,vhost-user"});
    expect(kBadFile, "Connection refused",
           {"boot", "--kernel", "KERNEL", "--net", "socket=" + file + ",vhost-user"});
    expect(kBadFile, "1 to 107 bytes",
           {"boot", "--kernel", "KERNEL", "--net", "socket=/tmp/" + std::string(200, 'x') + ",vhost-user"});
    expect(kUsage, "for the server", {"boot", "--kernel", "KERNEL", "--net", "socket=x,vhost-user,pps=5"});

    // Servers that speak something else, say nothing, or are none.
    const fs::path socket = folder_ / "wrong-server";
    const UniqueFd listener = listen_unix(socket);
    for (const std::string device : {"--disk", "--net"}) {
        const std::string place = "socket=" + socket.string() + (device == "--net" ? ",vhost-user" : "");
        const auto expect_of_server = [&](const std::string& said, const std::string& told) {
            std::thread server{[&] {
                const UniqueFd connection{accept(listener.get(), nullptr, nullptr)};
                char question[12];
                recv(connection.get(), question, sizeof question, MSG_WAITALL);
                if (said.empty()) {
                    return;
                }
                [[maybe_unused]] const ssize_t sent = ::write(connection.get(), said.data(), said.size());
                recv(connection.get(), question, sizeof question, MSG_WAITALL);
            }};
            expect(kBadFile, told, {"boot", "--kernel", "KERNEL", device, place});
            server.join();
        };
        expect_of_server("220 mail.example ESMTP ready\r\n", "no answer to request 1 of vhost-user");
        expect_of_server("", "it has closed the connection");
        expect_of_server("mute", "it does not answer");
    }
    // A sound one that has another sort of queues, or too few.
    const auto expect_of_sound_server = [&](uint64_t queues, const std::string& device,
                                            const std::string& place, const std::string& told) {
        std::optional<VhostUserServer> played;
        std::thread server{[&] {
            VhostUserServer::Manners manners;
            manners.queues = queues;
            played.emplace(UniqueFd{accept(listener.get(), nullptr, nullptr)}, manners);
        }};
        expect(kBadFile, told, {"boot", "--kernel", "KERNEL", device, place});
        server.join();
    };
    expect_of_sound_server(1, "--disk", "socket=" + socket.string() + ",queues=2",
                           "it serves 1 queues, and 2 are wanted");
    expect_of_sound_server(0, "--net", "socket=" + socket.string() + ",vhost-user", "it serves no queues");
}

TEST_F(BadInput, MoreDevicesThanSlots) {
    std::vector<std::string> arguments{"boot", "--kernel", "KERNEL"};
    const auto with_disks = [&](int count, std::initializer_list<std::string> more) {
        std::vector<std::string> all = arguments;
        for (int number = 0; number < count; ++number) {
            all.insert(all.end(), {"--disk", folder_ / ("disk" + std::to_string(number))});
        }
        all.insert(all.end(), more);
        return all;
    };
    // Nothing is opened before they are counted.
    expect(kUsage, "32 virtio devices: with --bus pci a machine has room for 31", with_disks(32, {}));
    expect(kUsage, "32 virtio devices: with --bus pci a machine has room for 31", with_disks(31, {"--rng"}));
    expect(kUsage, "15 virtio devices: with --bus mmio a machine has room for 14",
           with_disks(14, {"--bus", "mmio", "--rng"}));
    expect(kUsage, "15 virtio devices: with --bus mmio a machine has room for 14",
           with_disks(14, {"--platform", "fdt", "--rng"}));
    // As many as there are slots are looked for.
    expect(kBadFile, "No such file", with_disks(31, {}));
    expect(kBadFile, "No such file", with_disks(14, {"--platform", "fdt"}));
}

TEST_F(BadInput, WhatAnotherMachineHas) {
    const std::string disk = write("taken-disk", std::string(4096, 'x'));
    const std::string part = write("taken-part", std::string(4096, 'x'));
    const std::string vsock = folder_ / "taken-vsock";
    const std::string port = folder_ / "taken-port";
    HullProcess first{
        {"boot", "--kernel", guest_file("small/bzImage"), "--initramfs", guest_file("initramfs-small"),
         "--disk", disk, "--disk", "part=" + part, "--vsock", "cid=3,socket=" + vsock, "--port",
         "a,socket=" + port, "--net", "user,forward=7087:80,forward=7088:53/udp"},
        HullProcess::Input::pipe};
    ASSERT_TRUE(first.wait_for("hull#"));
    const auto second = [&](int status, const std::string& words, const std::string& option,
                            const std::string& value) {
        expect(status, words, {"boot", "--kernel", "KERNEL", option, value});
    };
    for (const std::string use : {"", ",readonly", ",overlay"}) {
        second(kBadFile, "another machine", "--disk", disk + use);
        second(kBadFile, "another machine", "--disk", "part=" + part + use);
    }
    second(kBadFile, "another program does", "--vsock", "cid=3,socket=" + vsock);
    second(kBadFile, "another program does", "--port", "a,socket=" + port);
    second(kNoResources, "Address already in use", "--net", "user,forward=7087:80");
    second(kNoResources, "Address already in use", "--net", "user,forward=7088:53/udp");
    second(kNoResources, "cannot forward '192.0.2.1:7089:80'", "--net", "user,forward=192.0.2.1:7089:80");
    // None of them has cost the first one anything.
    first.type("cat /dev/vda | tr -d x | wc -c; cat /dev/vdb1 | tr -d x | wc -c; poweroff -f\n");
    EXPECT_EQ(first.wait(), 0) << first.err();
    EXPECT_THAT(first.out(), HasSubstr("\r\n0\r\n0\r\n"));
    EXPECT_FALSE(fs::exists(vsock) || fs::exists(port));
    // And nothing of it is held any longer.
    HullProcess next{{"boot", "--kernel", guest_file("small/bzImage"), "--initramfs",
                      guest_file("initramfs-small"), "--cmdline", "hull.run=poweroff", "--disk", disk,
                      "--vsock", "cid=3,socket=" + vsock, "--port", "a,socket=" + port, "--net",
                      "user,forward=7087:80"}};
    EXPECT_EQ(next.wait(), 0) << next.err();
}

TEST_F(BadInput, WhatAnOrdinaryUserMayNotUse) {
    if (!OrdinaryUser::possible()) {
        GTEST_SKIP() << "only root can become another user";
    }
    const OrdinaryUser user;
    const auto refused = [&](int status, std::initializer_list<const char*> words, const std::string& option,
                             const std::string& value) {
        SCOPED_TRACE(option + " " + value);
        const auto hull = user.boot({option, value});
        EXPECT_EQ(hull->wait(), status) << hull->err();
        for (const char* word : words) {
            EXPECT_THAT(hull->err(), HasSubstr(word));
        }
        EXPECT_EQ(std::count(hull->err().begin(), hull->err().end(), '\n'), 1) << hull->err();
        EXPECT_EQ(hull->out(), "");
    };
    const std::string mine = user.folder().file("roots", std::string(4096, 'x'));
    fs::permissions(mine, fs::perms::owner_all);
    const std::string readable = user.folder().file("readable", std::string(4096, 'x'));
    refused(kBadFile, {"cannot use disk", "Permission denied"}, "--disk", mine);
    refused(kBadFile, {"cannot use disk", "Permission denied"}, "--disk", mine + ",readonly");
    refused(kBadFile, {"cannot use disk", "Permission denied"}, "--disk", readable);
    refused(kBadFile, {"Permission denied"}, "--initramfs", mine);
    refused(kBadFile, {"Permission denied"}, "--console", "file:" + readable);
    refused(kBadFile, {"Permission denied"}, "--port", "a,file=" + readable);
    refused(kBadFile, {"Permission denied"}, "--port", "a,socket=" + user.path("port"));
    refused(kBadFile, {"Permission denied"}, "--port", "a,pipe=" + user.path("port"));
    refused(kBadFile, {"Permission denied"}, "--vsock", "cid=3,socket=" + user.path("vsock"));
    user.folder().file("shut/f", "x");
    fs::permissions(user.path("shut"), fs::perms::owner_all);
    refused(kBadFile, {"Permission denied"}, "--share", "tag=t,path=" + user.path("shut"));
    const UniqueFd listener = listen_unix(user.path("server"));
    fs::permissions(user.path("server"), fs::perms::owner_all);
    refused(kBadFile, {"Permission denied"}, "--disk", "socket=" + user.path("server"));
    refused(kBadFile, {"Permission denied"}, "--net", "socket=" + user.path("server"));
    if (std::system("chmod 666 /dev/net/tun && ip tuntap add dev hullroot0 mode tap user root 2>/dev/null") ==
        0) {
        refused(kBadFile, {"cannot use the tap device 'hullroot0'", "give it to this user"}, "--net",
                "tap=hullroot0");
        EXPECT_EQ(std::system("ip link del hullroot0"), 0);
    } else {
        ADD_FAILURE() << "root may not make a tap device";
    }
    refused(kBadFile, {"cannot use the tap device 'hull-none'"}, "--net", "tap=hull-none");
    if (std::system("test $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start) -gt 81") == 0) {
        refused(kNoResources, {"cannot forward", "take a port from 1024 on"}, "--net", "user,forward=81:80");
    }
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
