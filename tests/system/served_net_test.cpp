// Real kernels' drivers on networks that other programs serve: DPDK's testpmd by vhost-user, passt by a
// stream.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "tests/support/echo_server.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/program.h"
#include "tests/support/sockets.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

bool run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

bool wait_until(const std::function<bool()>& holds) {
    for (int tenths = 0; tenths < 600; ++tenths) {
        if (holds()) {
            return true;
        }
        usleep(100'000);
    }
    return false;
}

/// The shell's words that wait for the cable to be there (1) or not (0).
std::string wait_for_carrier(int carrier) {
    const std::string number = std::to_string(carrier);
    return "until [ $(cat /sys/class/net/eth0/carrier) = " + number + " ]; do sleep 0.2; done; echo cable " +
           number + "\n";
}

const std::string kBindAgain =
    "d=$(basename $(readlink -f /sys/class/net/eth0/device)); cd /sys/bus/virtio/drivers/virtio_net\n"
    "echo $d >unbind; echo $d >bind; cd /\n";

const std::string kEcho = "nc 10.201.7.1 7007 </bin/busybox | cmp - /bin/busybox && echo unchanged\n";

/// DPDK's testpmd between a vhost-user socket and a tap device of its own, which has an address here.
class Testpmd {
  public:
    explicit Testpmd(const fs::path& socket)
        : program_{{"dpdk-testpmd",
                    "--no-huge",
                    "-m",
                    "128",
                    "--no-pci",
                    "--no-telemetry",
                    "--file-prefix",
                    "hulltest",
                    "--lcores",
                    "0@0,1@0",
                    "--vdev",
                    "net_vhost0,iface=" + socket.string(),
                    "--vdev",
                    "net_tap0,iface=hulltest0,mac=fixed",
                    "--",
                    "--auto-start",
                    "--disable-link-check",
                    "--no-mlockall",
                    "--forward-mode=io",
                    "--total-num-mbufs=4096"}} {
        made_ =
            wait_until([&] {
                return program_.has_ended() || (fs::exists(socket) && fs::exists("/sys/class/net/hulltest0"));
            }) &&
            !program_.has_ended() && run("ip addr add 10.201.7.1/24 dev hulltest0") &&
            run("ip link set hulltest0 up");
    }
    [[nodiscard]] bool made() const { return made_; }
    void kill() { program_.end(SIGKILL); }

  private:
    Program program_;
    bool made_ = false;
};

class ServedNet : public testing::TestWithParam<Way> {
  protected:
    void SetUp() override {
        if (geteuid() != 0) {
            GTEST_SKIP() << "this user may not make a tap device";
        }
    }
};

TEST_P(ServedNet, CarriesAFileAndOutlivesItsServer) {
    const TemporaryFolder folder;
    const fs::path socket = folder.path() / "socket";
    auto testpmd = std::make_unique<Testpmd>(socket);
    ASSERT_TRUE(testpmd->made()) << "dpdk-testpmd (package dpdk-dev)";
    auto echo = std::make_unique<EchoServer>("10.201.7.1");
    HullProcess hull{
        boot(GetParam(), "",
             {"--net", "socket=" + socket.string() + ",vhost-user,mac=02:00:00:00:07:02", "--rng"}),
        HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "cat /sys/class/net/eth0/address; ip addr add 10.201.7.2/24 dev eth0; ip link set eth0 up\n"
        "ping -c 2 -s 3000 10.201.7.1 | grep -c 'bytes from'\n" +
        kEcho + "echo carried\n");
    ASSERT_TRUE(hull.wait_for("\r\ncarried\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("02:00:00:00:07:02\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n2\r\n")) << "ping";
    EXPECT_THAT(hull.out(), HasSubstr("\r\nunchanged\r\n"));

    echo.reset();
    testpmd->kill();
    hull.type(wait_for_carrier(0));
    ASSERT_TRUE(hull.wait_for("\r\ncable 0\r\n"));
    hull.type(
        "ping -c 1 -W 1 10.201.7.1 >/dev/null || echo nobody is there\n"
        "head -c 100 /dev/hwrng | wc -c; echo goes on\n");
    ASSERT_TRUE(hull.wait_for("\r\ngoes on\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\nnobody is there\r\n"));

    testpmd.reset();
    fs::remove(socket);
    testpmd = std::make_unique<Testpmd>(socket);
    ASSERT_TRUE(testpmd->made());
    echo = std::make_unique<EchoServer>("10.201.7.1");
    hull.type(wait_for_carrier(1));
    ASSERT_TRUE(hull.wait_for("\r\ncable 1\r\n"));
    // And behind a reset of the device.
    hull.type("ping -c 2 10.201.7.1 | grep -c 'bytes from'\n" + kBindAgain +
              "ip addr add 10.201.7.2/24 dev eth0; ip link set eth0 up\n"
              "echo again $(ping -c 2 10.201.7.1 | grep -c 'bytes from')\n" +
              kEcho + "poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("\r\nagain 2\r\n"));
    EXPECT_THAT(hull.out().substr(hull.out().find("again 2")), HasSubstr("\r\nunchanged\r\n"));
    EXPECT_THAT(hull.err(), HasSubstr("net0: its server is lost"));
    EXPECT_THAT(hull.err(), HasSubstr("net0: its server is back"));
}

/// A way out for the host that leads nowhere, whose address passt gives to its guest.
class WayOut {
  public:
    WayOut() {
        made_ = run("ip tuntap add dev hulltest1 mode tap") &&
                run("ip addr add 10.201.8.2/24 dev hulltest1") && run("ip link set hulltest1 up") &&
                run("ip route add default via 10.201.8.1 dev hulltest1");
    }
    WayOut(const WayOut&) = delete;
    WayOut& operator=(const WayOut&) = delete;
    ~WayOut() { run("ip link del hulltest1"); }
    [[nodiscard]] bool made() const { return made_; }

  private:
    bool made_ = false;
};

class Passt : public testing::TestWithParam<Way> {
  protected:
    void SetUp() override {
        if (geteuid() != 0) {
            GTEST_SKIP() << "this user may not make a tap device";
        }
    }
    /// Starts it anew.
    void start() {
        passt_.reset();
        fs::remove(socket_);
        passt_ = std::make_unique<Program>(std::vector<std::string>{"passt", "-f", "-s", socket_.string(),
                                                                    "-t", "7090:80", "--runas", "0:0"});
        ASSERT_TRUE(wait_until([&] { return passt_->has_ended() || fs::exists(socket_); }));
        ASSERT_FALSE(passt_->has_ended()) << "passt (package passt)";
    }

    const TemporaryFolder folder_;
    const fs::path socket_ = folder_.path() / "socket";
    std::unique_ptr<Program> passt_;
};

TEST_P(Passt, GivesALeaseAndAForwardAndAWayOutAndIsFoundAgain) {
    const WayOut way_out;
    ASSERT_TRUE(way_out.made());
    const Program web{{"busybox", "httpd", "-f", "-p", "127.0.0.1:7007", "-h", "/bin"}};
    start();
    HullProcess hull{boot(GetParam(), "", {"--net", "socket=" + socket_.string()}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // The router's address is the host's own, as passt has it.
    const std::string lease =
        "ip link set eth0 up; udhcpc -i eth0 -n -q -t 20 -s /tmp/lease >/dev/null 2>&1 && "
        "ip addr show eth0 | grep -o '10[.]201[.]8[.]2/24'\n";
    const std::string download =
        "wget -q -O /tmp/b http://10.201.8.1:7007/busybox; cmp /tmp/b /bin/busybox && echo unchanged\n";
    hull.type(
        "printf '#!/bin/sh\\n[ $1 = bound ] && ip addr flush dev $interface && ip addr add $ip/24 dev "
        "$interface && ip route add default via $router\\nexit 0\\n' >/tmp/lease; chmod +x /tmp/lease\n"
        "mkdir /www; echo served by the guest >/www/index.html; httpd -p 80 -h /www\n" +
        lease + download + "echo first done\n");
    ASSERT_TRUE(hull.wait_for("\r\nfirst done\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n10.201.8.2/24\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\nunchanged\r\n"));
    EXPECT_THAT(fetch("127.0.0.1", 7090), HasSubstr("served by the guest"));

    passt_->end(SIGKILL);
    hull.type(wait_for_carrier(0));
    ASSERT_TRUE(hull.wait_for("\r\ncable 0\r\n"));
    start();
    hull.type(wait_for_carrier(1));
    ASSERT_TRUE(hull.wait_for("\r\ncable 1\r\n"));
    hull.type(lease + download + "echo second done\n");
    ASSERT_TRUE(hull.wait_for("\r\nsecond done\r\n"));
    EXPECT_THAT(hull.out().substr(hull.out().find("cable 1")), HasSubstr("\r\nunchanged\r\n"));
    EXPECT_THAT(fetch("127.0.0.1", 7090), HasSubstr("served by the guest"));
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_EQ(hull.err(), "");
}

const auto kWays = testing::Values(Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"},
                                   Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"});
const auto kName = [](const testing::TestParamInfo<Way>& way) { return std::string{way.param.name}; };

INSTANTIATE_TEST_SUITE_P(Kernels, ServedNet, kWays, kName);
INSTANTIATE_TEST_SUITE_P(Kernels, Passt, kWays, kName);

}  // namespace
}  // namespace hull::test
