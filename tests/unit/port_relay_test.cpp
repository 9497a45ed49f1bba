// Ports at the host, and how those of IPv6 lead to who has IPv4 only; over the loopback.
#include "container/network/port_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "container/api/api_error.h"
#include "container/life/host_ports.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull::container {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kLoopback = 0x7f00'0001;

UniqueFd connected(const SocketAddress& to, int type) {
    UniqueFd fd{socket(to.get()->sa_family, type | SOCK_CLOEXEC, 0)};
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return connect(fd.get(), to.get(), to.size()) == 0 ? std::move(fd) : UniqueFd{};
}

std::string received(const UniqueFd& fd) {
    std::array<char, 100> room{};
    const ssize_t got = recv(fd.get(), room.data(), room.size(), 0);
    return got < 0 ? "nothing" : std::string{room.data(), static_cast<size_t>(got)};
}

void send_text(const UniqueFd& fd, const std::string& text) {
    send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

/// A UDP socket that is bound at a loopback.
UniqueFd bound_to(const char* ip) {
    PublishedPort port{.host = SocketAddress::parse(ip, 0).value(), .guest_port = 1, .is_udp = true};
    return port.take();
}

TEST(PublishedPort, IsReadAsItIsWritten) {
    for (const char* text :
         {"0.0.0.0:8080:80", "127.0.0.1:53:5353/udp", "[::]:8080:80", "[fe80::1]:1:65535/udp"}) {
        EXPECT_EQ(PublishedPort::parse(text).text(), text);
    }
    for (const char* text : {"", ":", "::", "8080", "8080:80", "0.0.0.0:8080:0", "0.0.0.0:65536:80", "x:1:1",
                             "[::]:8080:80/tcp", "[]:1:1", "[:1:1", "0.0.0.0::80", "0.0.0.0:-1:80"}) {
        EXPECT_THROW(PublishedPort::parse(text), Error) << text;
    }
}

TEST(PortWays, LeadIPv6ToTheGuestOrToTheUserNetwork) {
    const std::vector<PublishedPort> ports = published_ports(
        {"0.0.0.0:8080:80", "[::]:8080:80", "10.9.9.9:8081:81", "[::1]:8081:81", "[::1]:53:53/udp"});
    const auto targets = [](const PortWays& ways) {
        std::vector<std::string> all;
        for (const PortWays::Relayed& each : ways.relayed) {
            all.push_back(each.port.text() + " " + each.to.ip() + " " + std::to_string(each.to.port()));
        }
        return all;
    };
    const Endpoint endpoint{
        .bridge = "hull0", .address = 0xac11'0002, .gateway = 0xac11'0001, .prefix = 16, .mac = ""};
    const PortWays bridge = PortWays::of(ports, &endpoint);
    EXPECT_EQ(bridge.direct.size(), 2U);
    EXPECT_THAT(targets(bridge), ElementsAre("[::]:8080:80 172.17.0.2 80", "[::1]:8081:81 172.17.0.2 81",
                                             "[::1]:53:53/udp 172.17.0.2 53"));
    const PortWays user = PortWays::of(ports, nullptr);
    ASSERT_EQ(user.direct.size(), 4U);
    EXPECT_EQ(user.direct[2].host.ip(), "127.0.0.1");
    EXPECT_EQ(user.direct[2].guest_port, 81);
    EXPECT_TRUE(user.direct[3].is_udp);
    EXPECT_THAT(targets(user),
                ElementsAre("[::]:8080:80 127.0.0.1 8080",
                            "[::1]:8081:81 127.0.0.1 " + std::to_string(user.direct[2].host.port()),
                            "[::1]:53:53/udp 127.0.0.1 " + std::to_string(user.direct[3].host.port())));
}

TEST(HostPorts, AreAtBothFamiliesWithOneNumber) {
    const std::vector<PortBinding> found = find_host_ports({.container_port = 80}, "one");
    if (!has_ipv6()) {
        EXPECT_EQ(found.size(), 1U);
        GTEST_SKIP() << "the host has no IPv6";
    }
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].host_address, "0.0.0.0");
    EXPECT_EQ(found[1].host_address, "::");
    EXPECT_GT(found[0].host_port, 0U);
    EXPECT_EQ(found[0].host_port, found[1].host_port);
    EXPECT_EQ(port_of(port_word(found[1])), found[1]);
    EXPECT_EQ(find_host_ports({.container_port = 80, .host_address = "0.0.0.0"}, "one").size(), 1U);
    EXPECT_EQ(find_host_ports({.container_port = 80, .host_address = "::1"}, "one").size(), 1U);
    // Somebody has it at one of the two.
    const PublishedPort taken = PublishedPort::parse("[::]:" + std::to_string(found[1].host_port) + ":80");
    const UniqueFd socket = taken.take();
    taken.listen_at(socket);
    try {
        find_host_ports({.container_port = 80, .host_port = found[1].host_port}, "one");
        ADD_FAILURE() << "it was free";
    } catch (const ApiError& error) {
        EXPECT_EQ(
            error.what(),
            std::string{"driver failed programming external connectivity on endpoint one: Bind for :::"} +
                std::to_string(found[1].host_port) + " failed: port is already allocated");
    }
}

/// A port at [::1] and, as the guest's, a server at 127.0.0.1.
class PortRelayTest : public testing::Test {
  protected:
    void SetUp() override {
        if (!has_ipv6()) {
            GTEST_SKIP() << "the host has no IPv6";
        }
        signal(SIGPIPE, SIG_IGN);
    }
    void begin(bool is_udp, uint16_t guest_port) {
        const uint16_t number = find_host_ports({is_udp ? "udp" : "tcp", 1, "::1", 0}, "one").at(0).host_port;
        port_ = {.host = SocketAddress::parse("::1", number).value(), .guest_port = 1, .is_udp = is_udp};
        relay_.emplace(std::vector<PortWays::Relayed>{{port_, {kLoopback, guest_port}}});
    }
    [[nodiscard]] UniqueFd client() const {
        return connected(port_.host, port_.is_udp ? SOCK_DGRAM : SOCK_STREAM);
    }

    PublishedPort port_;
    std::optional<PortRelay> relay_;
};

TEST_F(PortRelayTest, CarriesBothWaysAndEndsEachApart) {
    const test::TcpListener server = test::listen_tcp();
    begin(false, server.port);
    const UniqueFd early = client();  // who comes before it has begun waits
    ASSERT_TRUE(early.valid());
    relay_->start();
    const UniqueFd guest{accept(server.fd.get(), nullptr, nullptr)};
    send_text(early, "question");
    shutdown(early.get(), SHUT_WR);
    EXPECT_EQ(received(guest), "question");
    EXPECT_EQ(received(guest), "");
    const std::string answer(3'000'000, 'a');
    std::thread writer{[&] {
        test::write_all(guest.get(), answer);
        shutdown(guest.get(), SHUT_RDWR);
    }};
    EXPECT_EQ(test::read_up_to(early.get(), 2 * answer.size()), answer);
    writer.join();
    // The other one ends first, and the first can still be heard.
    const UniqueFd second = client();
    const UniqueFd second_guest{accept(server.fd.get(), nullptr, nullptr)};
    shutdown(second_guest.get(), SHUT_WR);
    EXPECT_EQ(received(second), "");
    send_text(second, "last words");
    EXPECT_EQ(received(second_guest), "last words");
    // It gives the port back, and ends who is there.
    relay_.reset();
    EXPECT_EQ(received(second_guest), "");
    EXPECT_TRUE(port_.take().valid());
}

TEST_F(PortRelayTest, WhoIsNotServedIsToldAtOnce) {
    const uint16_t nobody = SocketAddress::of(test::listen_tcp().fd.get()).port();
    begin(false, nobody);
    relay_->start();
    EXPECT_EQ(received(client()), "");
}

TEST_F(PortRelayTest, HoldsSoManyConnectionsAndHasOthersWait) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    const test::TcpListener server = test::listen_tcp();
    begin(false, server.port);
    relay_->start();
    std::vector<UniqueFd> clients;
    std::vector<UniqueFd> guests;
    for (size_t count = 0; count < PortRelay::kMostConnections; ++count) {
        clients.push_back(client());
        guests.emplace_back(accept(server.fd.get(), nullptr, nullptr));
    }
    clients.push_back(client());
    pollfd entry{server.fd.get(), POLLIN, 0};
    EXPECT_EQ(poll(&entry, 1, 100), 0);
    clients.front().reset();
    guests.front().reset();
    EXPECT_EQ(poll(&entry, 1, 10'000), 1);
}

TEST_F(PortRelayTest, GivesEachClientOfUdpItsAnswers) {
    const UniqueFd server = bound_to("127.0.0.1");
    begin(true, SocketAddress::of(server.get()).port());
    relay_->start();
    const UniqueFd one = client();
    const UniqueFd other = client();
    std::vector<sockaddr_in> from(3);
    std::array<char, 100> room{};
    const auto take = [&](sockaddr_in& address) {
        socklen_t size = sizeof address;
        const ssize_t got =
            recvfrom(server.get(), room.data(), room.size(), 0, reinterpret_cast<sockaddr*>(&address), &size);
        return std::string{room.data(), static_cast<size_t>(std::max<ssize_t>(got, 0))};
    };
    const auto answer = [&](const sockaddr_in& address, const std::string& text) {
        sendto(server.get(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&address),
               sizeof address);
    };
    send_text(one, "one");
    EXPECT_EQ(take(from[0]), "one");
    send_text(other, "");  // an empty one is one, too
    EXPECT_EQ(take(from[1]), "");
    send_text(one, "again");
    EXPECT_EQ(take(from[2]), "again");
    EXPECT_EQ(from[0].sin_port, from[2].sin_port);
    EXPECT_NE(from[0].sin_port, from[1].sin_port);
    answer(from[1], "to the other");
    answer(from[0], "to the one");
    EXPECT_EQ(received(one), "to the one");
    EXPECT_EQ(received(other), "to the other");
}

TEST_F(PortRelayTest, ForgetsClientsOfUdpThatAreSilentOrTooMany) {
    const UniqueFd server = bound_to("127.0.0.1");
    const SocketAddress guest = SocketAddress::of(server.get());
    EventLoop loop;
    DatagramRelay relay{loop, 1s};
    UniqueFd socket = bound_to("::1");
    const SocketAddress at = SocketAddress::of(socket.get());
    relay.add(std::move(socket), guest);
    const UniqueFd turn = make_eventfd();
    loop.watch(turn.get(), [&] {
        drain_eventfd(turn.get());
        loop.stop();
    });
    std::vector<UniqueFd> clients;
    for (size_t count = 0; count < DatagramRelay::kMostClients + 10; ++count) {
        clients.push_back(connected(at, SOCK_DGRAM));
        send_text(clients.back(), "x");
        signal_eventfd(turn.get());
        loop.run();  // the socket was watched first, and so is served first
    }
    EXPECT_EQ(relay.clients(), DatagramRelay::kMostClients);
    std::atomic<bool> is_over = false;
    std::thread ticker{[&] {
        while (!is_over) {
            signal_eventfd(turn.get());
            std::this_thread::sleep_for(20ms);
        }
    }};
    for (const auto end = std::chrono::steady_clock::now() + 10s;
         relay.clients() > 0 && std::chrono::steady_clock::now() < end;) {
        loop.run();
    }
    is_over = true;
    ticker.join();
    EXPECT_EQ(relay.clients(), 0U);
}

}  // namespace
}  // namespace hull::container
