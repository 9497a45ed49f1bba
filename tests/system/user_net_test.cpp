// Real kernels on the user network: what a guest reaches, and what reaches it.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <functional>
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
using testing::Not;

const Way kSmall{"small", "small/bzImage", "initramfs-small", "acpi"};

/// A socket at a port of the host's own address, which `serve` is called with on a thread until the test
/// ends.
class Server {
  public:
    Server(int type, uint16_t port, std::function<void(int fd)> serve)
        : socket_{socket(AF_INET, type | SOCK_CLOEXEC, 0)} {
        const sockaddr_in address = at("127.0.0.1", port);
        const int on = 1;
        setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            throw std::runtime_error{"cannot bind port " + std::to_string(port)};
        }
        listen(socket_.get(), 8);
        thread_ = std::thread{[this, serve] {
            for (;;) {
                pollfd waits[] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
                poll(waits, 2, -1);
                if (waits[1].revents != 0) {
                    return;
                }
                serve(socket_.get());
            }
        }};
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() {
        signal_eventfd(stop_.get());
        thread_.join();
    }

  private:
    UniqueFd socket_;
    UniqueFd stop_ = make_eventfd();
    std::thread thread_;
};

/// Answers each who asks over HTTP with this text.
std::function<void(int)> http(std::string text) {
    return [text = std::move(text)](int listener) {
        const UniqueFd connection{accept(listener, nullptr, nullptr)};
        std::array<char, 4096> request{};
        [[maybe_unused]] const ssize_t got = read(connection.get(), request.data(), request.size());
        const std::string answer = "HTTP/1.0 200 OK\r\nContent-Length: " + std::to_string(text.size()) +
                                   "\r\nConnection: close\r\n\r\n" + text;
        for (size_t sent = 0; sent < answer.size();) {
            const ssize_t now =
                send(connection.get(), answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
            if (now <= 0) {
                return;
            }
            sent += static_cast<size_t>(now);
        }
    };
}

/// Answers each question for an address (RFC 1035) with 192.0.2.7.
void answer_names(int fd) {
    std::array<char, 512> message{};
    sockaddr_in client{};
    socklen_t length = sizeof client;
    const ssize_t size =
        recvfrom(fd, message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&client), &length);
    if (size < 12) {
        return;
    }
    std::string answer{message.data(), static_cast<size_t>(size)};
    const bool wants_v4 = answer[answer.size() - 3] == 1;  // the question's type, its last word but one
    answer[2] = '\x81';                                    // an answer, from one who asks others
    answer[3] = '\x80';
    answer[7] = wants_v4 ? 1 : 0;  // how many there are
    if (wants_v4) {
        answer += std::string{"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07", 16};
    }
    sendto(fd, answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(&client), length);
}

void send_datagram(uint16_t port) {
    const UniqueFd fd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const sockaddr_in target = at("127.0.0.1", port);
    sendto(fd.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&target), sizeof target);
}

std::string output_of(const std::string& command) {
    std::string text;
    FILE* const pipe = popen(command.c_str(), "r");
    for (int byte = 0; pipe != nullptr && (byte = fgetc(pipe)) != EOF;) {
        text += static_cast<char>(byte);
    }
    return pipe != nullptr && pclose(pipe) == 0 ? text : "failed";
}

/// The shell's words that take what DHCP gives, as a distribution's script does.
const std::string kDhcp =
    "printf '#!/bin/sh\\n[ $1 = bound ] && ip addr add $ip/24 dev $interface && "
    "ip route add default via $router && echo nameserver $dns >/etc/resolv.conf\\nexit 0\\n' >/tmp/lease\n"
    "chmod +x /tmp/lease; ip link set lo up; ip link set eth0 up\n"
    "udhcpc -i eth0 -n -q -t 20 -s /tmp/lease >/dev/null 2>&1 && ip addr show eth0 | grep -o "
    "'10[.]0[.]2[.]15/24'\n";

class UserNetTest : public testing::TestWithParam<Way> {};

TEST_P(UserNetTest, ServesAGuestAsAHomeRouterDoes) {
    std::string large;
    for (int number = 0; large.size() < (4U << 20); ++number) {
        large += std::to_string(number) + "\n";
    }
    const Server web{SOCK_STREAM, 7080, http(large)};
    HullProcess hull{
        boot(GetParam(), "",
             {"--net", "user,host-loopback,forward=7081:80,forward=7082:7/udp,mac=02:00:00:00:00:99"}),
        HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(kDhcp +
              "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu\n"
              "wget -q -O /tmp/large http://10.0.2.2:7080/large; md5sum </tmp/large\n"
              "mkdir /www; echo served by the guest >/www/index.html; httpd -p 80 -h /www\n"
              "echo up\n");
    ASSERT_TRUE(hull.wait_for("\nup\r\n"));
    EXPECT_THAT(fetch("127.0.0.1", 7081), HasSubstr("served by the guest"));
    // The guest has nobody at that port, which it counts.
    send_datagram(7082);
    hull.type(
        "until [ $(awk '/^Udp: [0-9]/ { print $3 }' /proc/net/snmp) -gt 0 ]; do sleep 0.1; done; echo "
        "datagram\n");
    EXPECT_TRUE(hull.wait_for("\ndatagram\r\n"));
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("10.0.2.15/24\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("02:00:00:00:00:99\r\n65521\r\n"));
    EXPECT_EQ(hull.err(), "");
    const TemporaryFolder folder;
    const std::string sum = output_of("md5sum <" + folder.file("large", large).string());
    EXPECT_THAT(hull.out(), HasSubstr(sum.substr(0, 32)));
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, UserNetTest,
    testing::Values(Way{"debian_pci", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"},
                    Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"},
                    Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                    Way{"small_fdt", "small/bzImage", "initramfs-small", "fdt", "mmio"}),
    [](const auto& way) { return std::string{way.param.name}; });

TEST(UserNet, NamesAreAskedOfTheHostsServer) {
    // In a view of the file system where the host's name server is this test's.
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        GTEST_SKIP() << "this user may not make a mount namespace";
    }
    const Server names{SOCK_DGRAM, 53, answer_names};
    const TemporaryFolder folder;
    const auto servers = folder.file("resolv.conf", "nameserver 127.0.0.1\n");
    ASSERT_EQ(mount(servers.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr), 0);
    HullProcess hull{boot(kSmall, "", {"--net", "user"}), HullProcess::Input::pipe};
    EXPECT_TRUE(hull.wait_for("hull#"));
    hull.type(kDhcp + "nslookup -type=a host.example; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    umount("/etc/resolv.conf");
    EXPECT_THAT(hull.out(), HasSubstr("Address: 192.0.2.7\r\n"));
}

TEST(UserNet, TheHostsLoopbackIsClosedUnlessItIsOpened) {
    const Server web{SOCK_STREAM, 7083, http("secret")};
    HullProcess closed{boot(kSmall, "", {"--net", "user"}), HullProcess::Input::pipe};
    ASSERT_TRUE(closed.wait_for("hull#"));
    closed.type(kDhcp +
                "wget -q -T 5 -O - http://10.0.2.2:7083/; wget -q -T 5 -O - http://127.0.0.1:7083/\n"
                "ip route add 127.0.0.1 via 10.0.2.2 2>/dev/null; echo done $?\n"
                "poweroff -f\n");
    EXPECT_EQ(closed.wait(), 0) << closed.err();
    EXPECT_THAT(closed.out(), HasSubstr("10.0.2.15/24\r\n"));
    EXPECT_THAT(closed.out(), HasSubstr("done"));
    EXPECT_THAT(closed.out(), Not(HasSubstr("secret")));
}

TEST(UserNet, ARestrictedGuestIsReachedButReachesNobody) {
    const Server web{SOCK_STREAM, 7084, http("outside")};
    HullProcess hull{boot(kSmall, "", {"--net", "user,restrict,host-loopback,forward=7085:80"}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(kDhcp +
              "wget -q -T 5 -O - http://10.0.2.2:7084/\n"
              "mkdir /www; echo served by the guest >/www/index.html; httpd -p 80 -h /www; echo up\n");
    ASSERT_TRUE(hull.wait_for("\nup\r\n"));
    EXPECT_THAT(fetch("127.0.0.1", 7085), HasSubstr("served by the guest"));
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), Not(HasSubstr("outside")));
}

TEST(UserNet, IPv6ReachesTheHost) {
    HullProcess hull{
        boot({"debian", "debian/vmlinuz", "initramfs-debian", "acpi"}, "", {"--net", "user,host-loopback"}),
        HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // The router's advertisement gives the address, which is not used before it is known to be no one else's.
    hull.type(
        "ip link set lo up; ip link set eth0 up\n"
        "for i in 1 2 3 4 5 6 7 8 9; do ip -6 addr show dev eth0 | grep -v tentative | grep -q fec0: && "
        "break; sleep 1; done\n"
        "echo $(ip -6 addr show dev eth0 | grep -c 'inet6 fec0:') address\n"
        "ping6 -c 2 -W 5 fec0::2 | grep -c 'bytes from'\n"
        "poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("1 address\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n2\r\n")) << "ping6";
}

/// A send to such a stream brings SIGPIPE to a process that does not ignore it.
TEST(UserNet, OutlivesStreamsWhoseOtherSideGoes) {
    const Server web{SOCK_STREAM, 7083, http("still here")};
    const Server leaver{SOCK_STREAM, 7084, [](int listener) {
                            const UniqueFd connection{accept(listener, nullptr, nullptr)};
                            std::array<char, 4096> some{};
                            [[maybe_unused]] const ssize_t got =
                                read(connection.get(), some.data(), some.size());
                        }};
    HullProcess hull{boot(kSmall, "", {"--net", "user,host-loopback"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(kDhcp +
              "for n in 1 2 3 4 5 6 7 8; do head -c 4000000 /dev/zero | nc 10.0.2.2 7084; done\n"
              "wget -q -O - http://10.0.2.2:7083/; echo; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("still here"));
}

TEST(UserNet, ItsEndIsAPulledCableAndKillingLeavesNothing) {
    HullProcess hull{boot(kSmall, "", {"--net", "user"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(kDhcp + "echo carrier $(cat /sys/class/net/eth0/carrier)\n");
    ASSERT_TRUE(hull.wait_for("carrier 1\r\n"));
    const std::vector<pid_t> helpers = hull.helpers();
    ASSERT_EQ(helpers.size(), 1U);
    kill(helpers.front(), SIGKILL);
    hull.type("ping -c 1 -W 1 10.0.2.2 >/dev/null; echo carrier now $(cat /sys/class/net/eth0/carrier)\n");
    EXPECT_TRUE(hull.wait_for("carrier now 0\r\n")) << "the guest goes on and is told";
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();

    HullProcess killed{boot(kSmall, "", {"--net", "user"}), HullProcess::Input::pipe};
    ASSERT_TRUE(killed.wait_for("hull#"));
    const std::vector<pid_t> left = killed.helpers();
    ASSERT_EQ(left.size(), 1U);
    kill(killed.keeper(), SIGKILL);
    killed.wait();
    bool gone = false;
    for (int tenths = 0; tenths < 100 && !gone; ++tenths) {
        usleep(100'000);
        gone = kill(left.front(), 0) != 0;
    }
    EXPECT_TRUE(gone);
}

TEST(UserNet, APortThatIsTakenIsToldBeforeTheGuestStarts) {
    const Server taken{SOCK_STREAM, 7086, http("")};
    HullProcess hull{boot(kSmall, "", {"--net", "user,forward=7086:80"})};
    EXPECT_EQ(hull.wait(), 5);
    EXPECT_EQ(
        hull.err(),
        "hull: cannot forward '127.0.0.1:7086:80' to the guest: Address already in use; end the program "
        "that uses the port, or take another\n");
    EXPECT_EQ(hull.out(), "");
    HullProcess elsewhere{boot(kSmall, "", {"--net", "user,forward=192.0.2.1:7086:80"})};
    EXPECT_EQ(elsewhere.wait(), 5);
    EXPECT_THAT(elsewhere.err(), HasSubstr("give an address that this host has"));
}

}  // namespace
}  // namespace hull::test
