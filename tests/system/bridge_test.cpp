// Containers on the daemon's bridge, seen from themselves, from the host and from outside of it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/small_file.h"
#include "container/network/dns_message.h"
#include "container/network/socket_address.h"
#include "tests/support/docker.h"

namespace hull::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

/// The host has an address 10.77.0.1 beside its loopback, over which it is met from "outside", 10.77.0.2, a
/// network namespace that has the host as its way to everywhere.
class Bridge : public Docker {
  protected:
    static void SetUpTestSuite() {
        Docker::SetUpTestSuite();
        store_answers();
    }
    void SetUp() override {
        const Ran made = run_command(
            "ip link set lo up; ip netns add outside && ip link add out0 type veth peer name out1 netns "
            "outside && "
            "ip addr add 10.77.0.1/24 dev out0 && ip link set out0 up && "
            "ip -n outside addr add 10.77.0.2/24 dev out1 && ip -n outside link set out1 up && "
            "ip -n outside link set lo up && ip -n outside route add default via 10.77.0.1 && "
            "ip addr add fd00:77::1/64 dev out0 nodad && ip -n outside addr add fd00:77::2/64 dev out1 "
            "nodad");
        ASSERT_EQ(made.status, 0) << made.out;
        rules_ = rules();
        Docker::SetUp();
    }
    void TearDown() override {
        Docker::TearDown();
        EXPECT_EQ(rules(), rules_);
        run_command("ip link del out0; ip netns del outside; nft flush ruleset");
    }

    static std::string rules() { return run_command("nft list ruleset").out; }
    static std::string address_of(const std::string& name) {
        const std::string line = docker("inspect -f '{{.NetworkSettings.IPAddress}}' " + name).out;
        return line.substr(0, line.find('\n'));
    }
    /// A container that answers with its name at TCP port 80 and UDP port 53.
    static void serve(const std::string& name, const std::string& options) {
        const Ran ran = docker("run -d --name " + name + " " + options + " answers answer " + name);
        ASSERT_EQ(ran.status, 0) << ran.out;
        EXPECT_EQ(patient_fetch(address_of(name).c_str(), 80), name + "\n");
    }
    /// What a program gets from a TCP port by saying nothing, where the server may not be there yet.
    static std::string patient_fetch(const char* address, uint16_t port) {
        std::string answer;
        for (int tries = 0; tries < 50 && answer.empty(); ++tries) {
            answer = fetch(address, port);
            std::this_thread::sleep_for(answer.empty() ? 100ms : 0ms);
        }
        return answer;
    }
    /// Of IPv4 or IPv6.
    static std::string fetch(const char* address, uint16_t port) {
        const auto target = container::SocketAddress::parse(address, port).value();
        const UniqueFd fd{::socket(target.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        if (connect(fd.get(), target.get(), target.size()) != 0) {
            return "";
        }
        shutdown(fd.get(), SHUT_WR);
        return read_up_to(fd.get(), 1000);
    }
    /// What a datagram to the port is answered with.
    static std::string ask_by_udp(const char* address, uint16_t port) {
        const auto target = container::SocketAddress::parse(address, port).value();
        for (int tries = 0; tries < 10; ++tries) {
            const UniqueFd fd{::socket(target.get()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
            connect(fd.get(), target.get(), target.size());
            send(fd.get(), "?", 1, 0);
            pollfd entry{fd.get(), POLLIN, 0};
            std::array<char, 100> room{};
            if (poll(&entry, 1, 1000) == 1) {
                if (const ssize_t got = recv(fd.get(), room.data(), room.size(), 0); got > 0) {
                    return {room.data(), static_cast<size_t>(got)};
                }
            }
        }
        return "";
    }
    /// What it answers in the namespace "outside".
    static std::string outside(const std::function<std::string()>& ask) {
        std::string answer;
        std::thread{[&] {
            const UniqueFd there{open("/run/netns/outside", O_RDONLY | O_CLOEXEC)};
            answer = setns(there.get(), CLONE_NEWNET) == 0 ? ask() : "not there";
        }}.join();
        return answer;
    }
    static std::string from_container(const std::string& name, const std::string& to) {
        return docker("exec " + name + " sh -c 'nc -w 5 " + to + " </dev/null'").out;
    }

    std::string rules_;
};

TEST_F(Bridge, AContainerHasAnAddressOfItsOwn) {
    serve("one", "");
    serve("two", "");
    EXPECT_EQ(address_of("one"), "172.17.0.2");
    EXPECT_EQ(docker("inspect -f '{{with .NetworkSettings}}{{.Gateway}} {{.IPPrefixLen}} {{.MacAddress}} "
                     "{{.Networks.bridge.IPAddress}}{{end}}' two")
                  .out,
              "172.17.0.1 16 02:42:ac:11:00:03 172.17.0.3\n");
    EXPECT_THAT(docker("exec one sh -c 'cat /etc/hosts; cat /sys/class/net/eth0/mtu; busybox ip addr'").out,
                testing::AllOf(HasSubstr("172.17.0.2\t"), HasSubstr("\n1500\n"),
                               HasSubstr("02:42:ac:11:00:02"), HasSubstr("172.17.0.2/16")));
    EXPECT_THAT(docker("exec one cat /etc/resolv.conf").out, HasSubstr("nameserver "));
    EXPECT_EQ(from_container("one", "172.17.0.3 80"), "two\n");
    EXPECT_EQ(docker("network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}' bridge").out,
              "172.17.0.0/16 172.17.0.1\n");
    EXPECT_EQ(docker("rm -f one").status, 0);
    serve("three", "");
    EXPECT_EQ(address_of("three"), "172.17.0.2");
    EXPECT_EQ(docker("run --rm --network none box cat /proc/net/route").out.find("eth0"), std::string::npos);
}

TEST_F(Bridge, PortsAreReachedFromEverywhere) {
    serve("web", "-p 18081:80 -p 18081:53/udp -p 10.77.0.1:18082:80");
    serve("other", "");
    EXPECT_EQ(patient_fetch("127.0.0.1", 18081), "web\n");
    EXPECT_EQ(patient_fetch("10.77.0.1", 18081), "web\n");
    EXPECT_EQ(patient_fetch("172.17.0.1", 18081), "web\n");
    EXPECT_EQ(patient_fetch("10.77.0.1", 18082), "web\n");
    EXPECT_EQ(fetch("127.0.0.1", 18082), "");
    EXPECT_EQ(outside([] { return patient_fetch("10.77.0.1", 18081); }), "web\n");
    EXPECT_EQ(from_container("other", "172.17.0.1 18081"), "web\n");
    EXPECT_EQ(from_container("other", "10.77.0.1 18081"), "web\n");
    EXPECT_EQ(from_container("web", "10.77.0.1 18081"), "web\n");
    EXPECT_EQ(ask_by_udp("127.0.0.1", 18081), "web\n");
    EXPECT_EQ(ask_by_udp("10.77.0.1", 18081), "web\n");
    EXPECT_EQ(outside([] { return ask_by_udp("10.77.0.1", 18081); }), "web\n");
    // The host's port is the container's while it runs, and nobody else's.
    const Ran ran = docker("run --name late -p 18081:80 box");
    EXPECT_EQ(ran.status, 125);
    EXPECT_THAT(ran.out,
                MatchesRegex("(.|\n)*driver failed programming external connectivity on endpoint late"
                             "(.|\n)*Bind for 0.0.0.0:18081 failed: port is already allocated(.|\n)*"));
    const UniqueFd rival{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const int on = 1;
    setsockopt(rival.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in taken = at("0.0.0.0", 18081);
    EXPECT_NE(bind(rival.get(), reinterpret_cast<const sockaddr*>(&taken), sizeof taken), 0);
    EXPECT_EQ(docker("restart -t 0 web").status, 0);
    EXPECT_EQ(patient_fetch("127.0.0.1", 18081), "web\n");
    EXPECT_EQ(docker("rm -f web").status, 0);
    EXPECT_EQ(bind(rival.get(), reinterpret_cast<const sockaddr*>(&taken), sizeof taken), 0);
}

TEST_F(Bridge, PortsAreReachedByIPv6) {
    serve("web", "-p 18081:80 -p 18081:53/udp -p [::1]:18082:80");
    const std::string shown =
        "53/udp -> 0.0.0.0:18081\n53/udp -> [::]:18081\n80/tcp -> 0.0.0.0:18081\n80/tcp -> [::1]:18082\n"
        "80/tcp -> [::]:18081\n";
    EXPECT_EQ(docker("port web | sort").out, shown);
    EXPECT_THAT(docker("ps --format '{{.Ports}}'").out, HasSubstr("[::1]:18082->80/tcp"));
    EXPECT_EQ(patient_fetch("::1", 18081), "web\n");
    EXPECT_EQ(fetch("fd00:77::1", 18081), "web\n");
    EXPECT_EQ(fetch("::1", 18082), "web\n");
    EXPECT_EQ(fetch("fd00:77::1", 18082), "");
    EXPECT_EQ(fetch("127.0.0.1", 18082), "");
    EXPECT_EQ(outside([] { return fetch("fd00:77::1", 18081); }), "web\n");
    EXPECT_EQ(ask_by_udp("::1", 18081), "web\n");
    EXPECT_EQ(outside([] { return ask_by_udp("fd00:77::1", 18081); }), "web\n");
    daemon_->end(SIGKILL);
    EXPECT_EQ(fetch("::1", 18081), "web\n");
    start_daemon();
    EXPECT_EQ(docker("port web | sort").out, shown);
    // Somebody may have it there alone.
    EXPECT_THAT(docker("run --rm -p [::1]:18082:80 box").out,
                HasSubstr("Bind for ::1:18082 failed: port is already allocated"));
    EXPECT_EQ(docker("rm -f web").status, 0);
    EXPECT_EQ(fetch("::1", 18081), "");
    // A host without IPv6 is not told of any, as Docker has it.
    const auto set_ipv6_off = [](const char* value) {
        run_command("echo " + std::string{value} + " > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    };
    set_ipv6_off("1");
    EXPECT_EQ(docker("run -d --name old -p 18083:80 box sleep 60").status, 0);
    EXPECT_EQ(docker("port old").out, "80/tcp -> 0.0.0.0:18083\n");
    set_ipv6_off("0");
}

TEST_F(Bridge, TheUserNetworkIsReachedByIPv6Too) {
    daemon_->end(SIGTERM);
    start_daemon({"--no-bridge"});
    EXPECT_EQ(docker("run -d -p 18081:80 -p [::1]:18082:80 -p [::1]:18082:53/udp answers answer web").status,
              0);
    EXPECT_EQ(patient_fetch("::1", 18081), "web\n");
    EXPECT_EQ(patient_fetch("127.0.0.1", 18081), "web\n");
    EXPECT_EQ(patient_fetch("::1", 18082), "web\n");
    EXPECT_EQ(ask_by_udp("::1", 18082), "web\n");
}

TEST_F(Bridge, WhoSendsAllTheTimeIsLedToTheContainerThatIsThere) {
    // From one socket, so that the host's kernel holds it for one conversation, begun before there is a
    // container, and led on to the first one when that is gone.
    const UniqueFd client{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    std::atomic<bool> is_over = false;
    std::thread sender{[&] {
        const sockaddr_in port = at("10.77.0.1", 18081);
        while (!is_over) {
            sendto(client.get(), "?", 1, 0, reinterpret_cast<const sockaddr*>(&port), sizeof port);
            std::this_thread::sleep_for(100ms);
        }
    }};
    const auto is_answered_by = [&](const std::string& name) {
        pollfd entry{client.get(), POLLIN, 0};
        std::array<char, 100> room{};
        while (poll(&entry, 1, 5000) == 1) {
            const ssize_t got = recv(client.get(), room.data(), room.size(), 0);
            if (got > 0 && std::string{room.data(), static_cast<size_t>(got)} == name + "\n") {
                return true;
            }
        }
        return false;
    };
    std::this_thread::sleep_for(200ms);
    serve("one", "-p 18081:53/udp");
    EXPECT_TRUE(is_answered_by("one"));
    EXPECT_EQ(docker("rm -f one").status, 0);
    EXPECT_EQ(docker("run -d box sleep 600").status, 0);  // which has its address now
    serve("two", "-p 18081:53/udp");
    EXPECT_TRUE(is_answered_by("two"));
    is_over = true;
    sender.join();
}

TEST_F(Bridge, ContainersGetOutAndOthersDoNotGetIn) {
    serve("web", "");
    const Program server{{"ip", "netns", "exec", "outside", HULL_ANSWER, "-"}};
    const Program at_host{{HULL_ANSWER, "secret"}};
    EXPECT_EQ(outside([] { return patient_fetch("10.77.0.2", 80); }), "10.77.0.2\n");
    EXPECT_EQ(patient_fetch("127.0.0.1", 80), "secret\n");
    EXPECT_EQ(from_container("web", "10.77.0.2 80"), "10.77.0.1\n");
    // Although the bridge knows a way to the loopback: it is the guard that keeps it.
    const auto ask_loopback = [] {
        return docker(
                   "run --rm --privileged box sh -c '"
                   "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; "
                   "busybox ip addr del 127.0.0.1/8 dev lo; "
                   "busybox ip route add 127.0.0.1 via 172.17.0.1; "
                   "busybox timeout 5 nc 127.0.0.1 80 </dev/null'")
            .out;
    };
    EXPECT_THAT(ask_loopback(), Not(HasSubstr("secret")));
    EXPECT_EQ(run_command("nft flush chain ip $(ls /sys/class/net | grep ^hull) guard").out, "");
    EXPECT_EQ(ask_loopback(), "secret\n");
    // What is not published, from a neighbour of the host's that knows the container's address.
    EXPECT_EQ(run_command("ip netns exec outside timeout 3 busybox nc 172.17.0.2 80 </dev/null").out, "");
    EXPECT_EQ(patient_fetch("172.17.0.2", 80), "web\n");
    // Another container's address is nobody else's, nor is its MAC.
    EXPECT_EQ(docker("run --rm --privileged box sh -c 'busybox ip addr add 172.17.0.99/16 dev eth0; "
                     "busybox ping -c 1 -w 3 172.17.0.1 >/dev/null && echo own; "
                     "busybox ping -c 1 -w 3 -I 172.17.0.99 172.17.0.1 >/dev/null && echo other; "
                     "busybox ifconfig eth0 down; busybox ifconfig eth0 hw ether 02:42:ac:11:00:02; "
                     "busybox ifconfig eth0 172.17.0.3 up; "
                     "busybox ping -c 1 -w 3 172.17.0.1 >/dev/null && echo stolen; true'")
                  .out,
              "own\n");
}

TEST_F(Bridge, NothingDependsOnTheDaemonAndNothingLeaks) {
    serve("web", "-p 18081:80");
    serve("long", "--restart always -p 18083:80");
    daemon_->end(SIGKILL);
    EXPECT_EQ(patient_fetch("127.0.0.1", 18081), "web\n");
    start_daemon();
    EXPECT_EQ(address_of("web"), "172.17.0.2");
    EXPECT_EQ(patient_fetch("127.0.0.1", 18081), "web\n");
    EXPECT_EQ(outside([] { return patient_fetch("10.77.0.1", 18081); }), "web\n");
    EXPECT_EQ(docker("run --rm box busybox ip addr show eth0").out.find("172.17.0.2/"), std::string::npos);
    // A supervisor that dies alone, of a container that is started again.
    run_command("kill -9 $(pgrep -f '[s]upervisor.*" +
                docker("inspect -f '{{slice .Id 0 12}}' long").out.substr(0, 12) + "')");
    for (int tries = 0; tries < 200 && docker("inspect -f '{{.RestartCount}}' long").out != "1\n"; ++tries) {
        std::this_thread::sleep_for(300ms);
    }
    EXPECT_EQ(docker("inspect -f '{{.RestartCount}}' long").out, "1\n");
    EXPECT_EQ(patient_fetch("127.0.0.1", 18083), "long\n") << docker("inspect -f '{{json .State}}' long").out;
    EXPECT_EQ(address_of("long"), "172.17.0.3");
    // All of them, the daemon first.
    EXPECT_THAT(rules(), HasSubstr("dnat to 172.17.0.2:80"));
    daemon_->end(SIGKILL);
    run_command("kill -9 $(pgrep -f '[h]ull-supervisor')");
    for (int tries = 0; tries < 500 && run_command("pgrep -f '[h]ull-supervisor|[h]ull boot'").status == 0;
         ++tries) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_THAT(rules(), Not(HasSubstr("dnat to")));
    EXPECT_EQ(run_command("ls /sys/class/net | grep ^tap").out, "");
    EXPECT_EQ(fetch("127.0.0.1", 18081), "");
    start_daemon();
}

TEST_F(Bridge, TwoDaemonsDoNotMeet) {
    TemporaryFolder second;
    const auto other = [&](const std::string& words) {
        return run_command("docker -H unix://" + (second.path() / "sock").string() + " " + words).out;
    };
    const char* given = std::getenv("HULL_TEST_BINARY");
    Program daemon{{given == nullptr ? HULL_SOURCE_DIR "/build/release/hull" : given, "daemon", "--socket",
                    second.path() / "sock", "--data-root", second.path() / "root"}};
    for (int tries = 0; tries < 2000 && !connect_unix(second.path() / "sock").valid(); ++tries) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(other("network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' bridge"),
              "172.18.0.0/16\n");
    serve("web", "-p 18081:80");
    daemon.end(SIGTERM);
    EXPECT_THAT(rules(), Not(HasSubstr("172.18.")));
    EXPECT_EQ(patient_fetch("127.0.0.1", 18081), "web\n");
}

TEST_F(Bridge, GetsThroughWhatDockerDrops) {
    daemon_->end(SIGTERM);
    const std::string dockers =
        "table ip filter { chain DOCKER-USER { counter; }; "
        "chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }; }";
    ASSERT_EQ(run_command("nft '" + dockers + "'").status, 0);
    const auto chain = [] { return run_command("nft -s list chain ip filter DOCKER-USER").out; };
    const std::string before = chain();
    start_daemon();
    serve("web", "-p 18081:80");
    EXPECT_EQ(outside([] { return patient_fetch("10.77.0.1", 18081); }), "web\n");
    daemon_->end(SIGKILL);
    start_daemon();  // which does not add them again
    EXPECT_EQ(run_command("nft list chain ip filter DOCKER-USER | grep -c accept").out, "2\n");
    EXPECT_EQ(docker("rm -f web").status, 0);
    daemon_->end(SIGTERM);
    EXPECT_EQ(chain(), before);
    run_command("nft delete table ip filter");
    // A dockerd that comes later.
    start_daemon();
    ASSERT_EQ(run_command("ip link add docker0 type bridge && nft '" + dockers + "'").status, 0);
    serve("later", "-p 18081:80");
    EXPECT_EQ(outside([] { return patient_fetch("10.77.0.1", 18081); }), "later\n");
    serve("again", "-p 18082:80");
    EXPECT_EQ(run_command("nft list chain ip filter DOCKER-USER | grep -c accept").out, "2\n");
    EXPECT_EQ(docker("rm -f later again").status, 0);
    run_command("ip link del docker0; nft delete table ip filter");
}

/// A name server at the host's loopback, who knows one name.
class LoopbackServer {
  public:
    LoopbackServer() {
        const sockaddr_in address = at("127.0.0.53", 53);
        EXPECT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        thread_ = std::thread{[this] { serve(); }};
    }
    LoopbackServer(const LoopbackServer&) = delete;
    LoopbackServer& operator=(const LoopbackServer&) = delete;
    ~LoopbackServer() {
        is_over_ = true;
        thread_.join();
    }

  private:
    void serve() {
        while (!is_over_) {
            pollfd entry{socket_.get(), POLLIN, 0};
            std::array<char, 4096> room{};
            sockaddr_in from{};
            socklen_t size = sizeof from;
            if (poll(&entry, 1, 100) != 1) {
                continue;
            }
            const ssize_t got = recvfrom(socket_.get(), room.data(), room.size(), 0,
                                         reinterpret_cast<sockaddr*>(&from), &size);
            const auto question =
                container::DnsQuestion::parse({room.data(), static_cast<size_t>(std::max<ssize_t>(got, 0))});
            if (!question) {
                continue;
            }
            const bool is_known =
                question->name == "outside.example" && question->type == container::DnsQuestion::kA;
            const std::string reply = is_known ? container::dns_addresses(*question, {0xc0000207}, 512)
                                               : container::dns_reply(*question, container::DnsResult::ok);
            sendto(socket_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
        }
    }

    UniqueFd socket_{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    std::atomic<bool> is_over_{false};
    std::thread thread_;
};

TEST_F(Bridge, NamesAreResolvedByWhoeverTheHostAsksAndByTheNetworks) {
    const LoopbackServer server;
    daemon_->end(SIGTERM);
    const std::string resolver = folder->path() / "resolv.conf";
    std::ofstream{resolver} << "nameserver 127.0.0.53\nsearch example.test\n";
    const auto daemon_with_it = [&] {
        daemon_ = std::make_unique<Program>(
            std::vector<std::string>{"unshare", "-m", "sh", "-c",
                                     "mount --bind " + resolver +
                                         " $(realpath /etc/resolv.conf) && exec " HULL_SOURCE_DIR
                                         "/build/release/hull daemon --socket " +
                                         socket() + " --data-root " + root().string()});
        EXPECT_TRUE(comes_true("docker version"));
    };
    daemon_with_it();
    // It may have the port itself at which it asks.
    ASSERT_EQ(docker("run -d --name one box sh -c 'nc -l -p 53 & while :; do busybox nslookup late.net | "
                     "busybox grep -q 172.17.0.10 && busybox touch /seen; sleep 1; done'")
                  .status,
              0);
    EXPECT_EQ(docker("exec one cat /etc/resolv.conf").out,
              "search example.test\nnameserver 127.0.0.11\noptions ndots:0\n");
    EXPECT_THAT(docker("exec one busybox netstat -ltn").out, HasSubstr(":53 "));
    EXPECT_THAT(docker("exec one busybox nslookup outside.example").out, HasSubstr("192.0.2.7"));
    EXPECT_THAT(docker("exec one busybox nslookup -type=a inside.net").out, Not(HasSubstr("172.17.0.9")));
    std::string id = docker("inspect -f '{{.Id}}' one").out.substr(0, 12);
    const std::filesystem::path names = root() / "containers" / id / "names";
    replace_file(names, "172.17.0.9 inside.net inside\n172.17.0.8 inside.net inside\n");
    const std::string answer = docker("exec one busybox nslookup inside.net").out;
    EXPECT_THAT(answer, HasSubstr("172.17.0.9"));
    EXPECT_THAT(answer, HasSubstr("172.17.0.8"));
    EXPECT_THAT(docker("exec one busybox nslookup 172.17.0.9").out, HasSubstr("inside.net"));
    EXPECT_THAT(docker("exec one busybox nslookup outside.example").out, HasSubstr("192.0.2.7"));
    EXPECT_THAT(docker("exec one busybox ping -c 1 -W 1 inside").out, HasSubstr("PING inside (172.17.0."));
    // It needs no daemon.
    daemon_->end(SIGKILL);
    replace_file(names, "172.17.0.10 late.net late\n");
    std::this_thread::sleep_for(5s);
    std::filesystem::remove(names);
    daemon_with_it();
    EXPECT_EQ(docker("exec one ls /seen").out, "/seen\n");
}

}  // namespace
}  // namespace hull::test
