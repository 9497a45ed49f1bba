// Networks that users make, seen from containers in them and from the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "tests/support/docker.h"

namespace hull::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// Each container of "answers" answers with its name at TCP port 80. The host has an address 10.77.0.1, at
/// which it answers, too.
class NetworkedDocker : public Docker {
  protected:
    static void SetUpTestSuite() {
        Docker::SetUpTestSuite();
        store_answers();
    }
    void SetUp() override {
        run_command("ip link set lo up; ip addr add 10.77.0.1/32 dev lo");
        rules_ = run_command("nft list ruleset").out;
        Docker::SetUp();
    }
    void TearDown() override {
        shell("docker rm -f $(docker ps -aq); docker network prune -f");
        Docker::TearDown();
        EXPECT_EQ(run_command("nft list ruleset").out, rules_);
        run_command("ip addr del 10.77.0.1/32 dev lo; nft flush ruleset");
    }

    static void serve(const std::string& name, const std::string& options) {
        const Ran ran = docker("run -d --name " + name + " " + options + " answers answer " + name);
        ASSERT_EQ(ran.status, 0) << ran.out;
    }
    static std::string address_of(const std::string& name, const std::string& network) {
        const std::string line =
            docker("inspect -f '{{(index .NetworkSettings.Networks \"" + network + "\").IPAddress}}' " + name)
                .out;
        return line.substr(0, line.find('\n'));
    }
    /// What a container gets from a TCP port, where it gets there at all.
    static std::string from(const std::string& name, const std::string& to, const std::string& port = "80") {
        return docker("exec " + name + " sh -c 'for i in 1 2 3; do nc -w 2 " + to + " " + port +
                      " </dev/null && break; done 2>/dev/null'")
            .out;
    }

    /// Whether nothing comes back; asked once.
    static bool is_cut_off(const std::string& name, const std::string& from_whom) {
        return docker("exec " + name + " sh -c 'nc -w 2 " + from_whom + " 80 </dev/null 2>/dev/null'")
            .out.empty();
    }

    std::string rules_;
};

TEST_F(NetworkedDocker, AContainerReachesThoseOfItsNetworksAndNoOthers) {
    EXPECT_EQ(shell("docker network create one && docker network create --subnet 10.66.0.0/24 two && "
                    "docker network create --internal inner")
                  .status,
              0);
    const Program at_host{{HULL_ANSWER, "host"}};
    serve("alfa", "--network one -p 18081:80");
    serve("beta", "--network one");
    serve("gamma", "--network two --ip 10.66.0.77 --mac-address 02:00:00:00:00:77");
    serve("delta", "--network inner");
    EXPECT_EQ(shell("docker create --name eta --network one answers answer eta && docker network connect "
                    "inner eta && "
                    "docker start eta")
                  .status,
              0);
    const std::string a = address_of("alfa", "one");
    const std::string d = address_of("delta", "inner");
    EXPECT_EQ(from("beta", a), "alfa\n");
    EXPECT_TRUE(is_cut_off("gamma", a)) << "of another network";
    EXPECT_TRUE(is_cut_off("alfa", "10.66.0.77"));
    EXPECT_EQ(from("gamma", "10.77.0.1", "18081"), "alfa\n") << "what is published is published to all";
    EXPECT_THAT(docker("exec gamma busybox ip addr").out,
                AllOf(HasSubstr("02:00:00:00:00:77"), HasSubstr("10.66.0.77/24")));
    EXPECT_EQ(from("gamma", "10.77.0.1"), "host\n");
    EXPECT_TRUE(is_cut_off("delta", a));
    EXPECT_TRUE(is_cut_off("delta", "10.77.0.1")) << "nothing leads out of there";
    EXPECT_EQ(docker("exec delta busybox ip route").out.find("default"), std::string::npos);
    EXPECT_EQ(docker("exec --privileged delta busybox ip route add default via 172.19.0.1").out, "");
    EXPECT_TRUE(is_cut_off("delta", a)) << "whatever it does";
    // One in two of them.
    EXPECT_EQ(from("eta", d), "delta\n");
    EXPECT_EQ(from("eta", a), "alfa\n");
    EXPECT_EQ(from("delta", address_of("eta", "inner")), "eta\n");
    EXPECT_THAT(docker("exec eta busybox ip route").out, HasSubstr("default via 172.18.0.1"));
    EXPECT_EQ(from("eta", "10.77.0.1"), "host\n");
    // Nothing of that is the daemon's while it goes on.
    daemon_->end(SIGKILL);
    start_daemon();
    EXPECT_EQ(address_of("alfa", "one"), a);
    EXPECT_EQ(from("beta", a), "alfa\n");
    EXPECT_TRUE(is_cut_off("gamma", a));
    EXPECT_EQ(from("eta", d), "delta\n");
    EXPECT_THAT(docker("network rm one").out, HasSubstr("has active endpoints"));
    EXPECT_THAT(docker("network inspect one").out,
                AllOf(HasSubstr(a + "/16"), Not(HasSubstr("\"Name\": \"gamma\""))));
    EXPECT_EQ(shell("docker rm -f alfa beta eta && docker network rm one").status, 0);
}

TEST_F(NetworkedDocker, ANetworkComesAndGoesWhileTheContainerRuns) {
    EXPECT_EQ(shell("docker network create one && docker network create --internal inner").status, 0);
    const Program at_host{{HULL_ANSWER, "host"}};
    serve("alfa", "--network one");
    serve("delta", "--network inner");
    serve("moves", "-p 18081:80");
    EXPECT_EQ(
        shell("docker network connect --alias mobile one moves && docker network connect inner moves").out,
        "");
    EXPECT_THAT(docker("network connect one moves").out, HasSubstr("already exists in network one"));
    EXPECT_EQ(from("moves", "alfa"), "alfa\n") << "by its name, which it could not ask for before";
    EXPECT_EQ(from("moves", "delta"), "delta\n");
    EXPECT_EQ(from("moves", "10.77.0.1"), "host\n") << "over the network that it has had";
    EXPECT_EQ(from("alfa", "mobile"), "moves\n");
    EXPECT_EQ(from("alfa", address_of("moves", "one")), "moves\n");
    EXPECT_THAT(docker("exec moves cat /etc/hosts").out, HasSubstr(address_of("moves", "one")));
    // Much goes over it whole.
    EXPECT_EQ(docker("exec moves sh -c 'busybox yes | busybox head -c 3000000 >/tmp/big; "
                     "busybox httpd -p 81 -h /tmp'")
                  .out,
              "");
    EXPECT_EQ(docker("exec alfa sh -c 'busybox wget -q -O - http://mobile:81/big | busybox md5sum'").out,
              "f30a749ec7a7b55d3a75349f242c4cd8  -\n");
    // The way out goes, and the published port goes over to the one that is left.
    EXPECT_EQ(docker("network disconnect bridge moves").out, "");
    EXPECT_THAT(docker("exec moves busybox ip addr").out, Not(HasSubstr("172.17.0.")));
    EXPECT_EQ(from("moves", "10.77.0.1"), "host\n");
    EXPECT_EQ(from("alfa", "10.77.0.1", "18081"), "moves\n");
    // Another daemon finds it as it is.
    daemon_->end(SIGKILL);
    start_daemon();
    EXPECT_EQ(from("alfa", "mobile"), "moves\n");
    EXPECT_EQ(docker("network disconnect one moves").out, "");
    EXPECT_TRUE(is_cut_off("alfa", "10.77.0.1 18081"));
    EXPECT_TRUE(is_cut_off("moves", "10.77.0.1")) << "it is in an internal one alone";
    EXPECT_EQ(from("moves", "delta"), "delta\n");
    EXPECT_EQ(docker("network disconnect inner moves").out, "");
    EXPECT_EQ(
        docker("exec moves sh -c 'busybox grep -c $(busybox hostname) /etc/hosts; busybox ls /sys/class/net'")
            .out,
        "0\nlo\n")
        << "it is in none";
    EXPECT_EQ(shell("docker network connect inner moves && docker network connect bridge moves").out, "");
    EXPECT_EQ(from("moves", "10.77.0.1"), "host\n");
    EXPECT_EQ(from("alfa", "10.77.0.1", docker("port moves 80").out.substr(8, 5)), "moves\n");
    EXPECT_EQ(docker("restart -t 0 moves").out, "moves\n");
    EXPECT_EQ(from("moves", "delta"), "delta\n");
    EXPECT_EQ(from("moves", "10.77.0.1"), "host\n");
    EXPECT_EQ(shell("docker rm -f alfa moves && docker network rm one").status, 0);
}

}  // namespace
}  // namespace hull::test
