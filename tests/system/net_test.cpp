// Real kernels' drivers on a tap device of the host's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <tuple>

#include "tests/support/echo_server.h"
#include "tests/support/hull_process.h"
#include "tests/support/programs_disk.h"
#include "tests/support/sockets.h"
#include "tests/support/tap_device.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

/// How to boot, and who serves the queues: hull or the host's kernel.
class NetTap : public testing::TestWithParam<std::tuple<Way, const char*>> {
  protected:
    void SetUp() override {
        if (vhost() == "on" && access("/dev/vhost-net", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "this host has no vhost-net for this user";
        }
    }
    static std::string vhost() { return std::get<1>(GetParam()); }
    static Way way() { return std::get<0>(GetParam()); }
};

TEST_P(NetTap, CarriesAFileThereAndBack) {
    const TapDevice tap;
    if (!tap.made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    const EchoServer echo{"10.201.7.1"};
    HullProcess hull{boot(way(), "", {"--net", "tap=hulltest0,mac=02:00:00:00:07:02,vhost=" + vhost()}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "cat /sys/class/net/eth0/address; ip addr add 10.201.7.2/24 dev eth0; ip link set eth0 up\n"
        "ping -c 2 -s 3000 10.201.7.1 | grep -c 'bytes from'\n"
        "nc 10.201.7.1 7007 </bin/busybox | cmp - /bin/busybox && echo unchanged\n"
        // A second time behind a reset of the device.
        "d=$(basename $(readlink -f /sys/class/net/eth0/device)); cd /sys/bus/virtio/drivers/virtio_net\n"
        "echo $d >unbind; echo $d >bind; cd /\n"
        "ip addr add 10.201.7.2/24 dev eth0; ip link set eth0 up\n"
        "echo again $(ping -c 1 10.201.7.1 | grep -c 'bytes from')\n"
        "poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("02:00:00:00:07:02\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n2\r\n")) << "ping";
    EXPECT_THAT(hull.out(), HasSubstr("unchanged\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("again 1\r\n")) << "ping behind a reset";
    EXPECT_EQ(hull.err(), "");
}

TEST(NetRings, AreChangedWhileTheDeviceRuns) {
    const TapDevice taps[] = {TapDevice{"", 0}, TapDevice{"multi_queue", 1}, TapDevice{"", 2},
                              TapDevice{"multi_queue", 3}};
    if (!taps[0].made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    if (access("/dev/vhost-net", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "this host has no vhost-net for this user";
    }
    const TemporaryFolder folder;
    const std::string programs = programs_disk(folder, {"ethtool"});
    // Debian's kernel resets one queue after the other for it, and no other kernel or bus does.
    HullProcess hull{boot({"debian", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"}, "",
                          {"--cpus", "2", "--disk", programs + ",readonly", "--net",
                           "tap=hulltest0,vhost=off", "--net", "tap=hulltest1,queues=2,vhost=off", "--net",
                           "tap=hulltest2,vhost=on", "--net", "tap=hulltest3,queues=2,vhost=on"}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // From each processor, since each has a queue of its own to send by.
    hull.type(
        mount_programs("/dev/vda") +
        "for i in 0 1 2 3; do ip addr add 10.201.$((7 + i)).2/24 dev eth$i; ip link set eth$i up; done\n"
        "pings() { for c in 1 2; do taskset $c ping -c 1 -s 3000 10.201.$((7 + $1)).1; done | grep -c 'bytes "
        "from'; }\n"
        "for i in 0 1 2 3; do echo eth$i begins with $(pings $i).; for n in 128 64 256; do chroot /programs "
        "ethtool -G eth$i rx $n tx $n && echo eth$i has $n and answers $(pings $i).; done; done\n"
        "chroot /programs ethtool -G eth1 rx 32; chroot /programs ethtool -g eth1 | grep RX: | tail -n 1\n"
        "poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    for (const char* device : {"eth0", "eth1", "eth2", "eth3"}) {
        EXPECT_THAT(hull.out(), HasSubstr(std::string{device} + " begins with 2."));
        for (const char* entries : {"128", "64", "256"}) {
            EXPECT_THAT(hull.out(), HasSubstr(std::string{device} + " has " + entries + " and answers 2."));
        }
    }
    EXPECT_THAT(hull.out(), testing::ContainsRegex("RX:[ \t]*32"));
    EXPECT_EQ(hull.err(), "");
}

class NetTapQueues : public NetTap {};

TEST_P(NetTapQueues, SpreadConnections) {
    const TapDevice tap{"multi_queue"};
    if (!tap.made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    HullProcess hull{boot(way(), "", {"--cpus", "2", "--net", "tap=hulltest0,queues=2,vhost=" + vhost()}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // The host chooses a queue for each connection: with 16 of them both have some.
    hull.type(
        "ip addr add 10.201.7.2/24 dev eth0; ip link set eth0 up; ls /sys/class/net/eth0/queues\n"
        "mkdir /www; echo served >/www/index.html; httpd -p 80 -h /www; echo up $?\n");
    ASSERT_TRUE(hull.wait_for("up 0"));
    int served = 0;
    for (int connection = 0; connection < 16; ++connection) {
        served += fetch("10.201.7.2", 80).ends_with("served\n") ? 1 : 0;
    }
    EXPECT_EQ(served, 16);
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), testing::ContainsRegex("rx-0 +rx-1 +tx-0 +tx-1"));
    EXPECT_EQ(hull.err(), "");
}

const Way kDebianPci{"debian_pci", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"};
const Way kDebianMmio{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"};
const Way kSmallPci{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"};
const Way kSmallMmio{"small_mmio", "small/bzImage", "initramfs-small", "acpi", "mmio"};

std::string name_of(const testing::TestParamInfo<std::tuple<Way, const char*>>& way) {
    return std::string{std::get<0>(way.param).name} + "_vhost_" + std::get<1>(way.param);
}

INSTANTIATE_TEST_SUITE_P(Kernels, NetTap,
                         testing::Combine(testing::Values(kDebianPci, kDebianMmio, kSmallPci, kSmallMmio),
                                          testing::Values("off", "on")),
                         name_of);

INSTANTIATE_TEST_SUITE_P(Kernels, NetTapQueues,
                         testing::Combine(testing::Values(kDebianMmio, kSmallPci),
                                          testing::Values("off", "on")),
                         name_of);

TEST(NetBadInput, ATapDeviceThatIsNotThereOrInUseIsTold) {
    HullProcess missing{
        boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "", {"--net", "tap=hull-none"})};
    EXPECT_EQ(missing.wait(), 4);
    EXPECT_THAT(missing.err(),
                HasSubstr("cannot use the tap device 'hull-none': the host has no network interface"));
    HullProcess other{boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "", {"--net", "tap=lo"})};
    EXPECT_EQ(other.wait(), 4);
    EXPECT_THAT(other.err(), HasSubstr("cannot use the tap device 'lo'"));
    EXPECT_THAT(other.err(), HasSubstr("is it a tap device?"));

    const TapDevice tap;
    if (!tap.made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    HullProcess first{
        boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "", {"--net", "tap=hulltest0"}),
        HullProcess::Input::pipe};
    ASSERT_TRUE(first.wait_for("hull#"));
    HullProcess second{
        boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "", {"--net", "tap=hulltest0"})};
    EXPECT_EQ(second.wait(), 4);
    EXPECT_THAT(second.err(), HasSubstr("busy; end the program that uses it"));
    HullProcess several{
        boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "", {"--net", "tap=hulltest0,queues=2"})};
    EXPECT_EQ(several.wait(), 4);
    EXPECT_THAT(several.err(), HasSubstr("made with multi_queue?"));
    first.type("poweroff -f\n");
    EXPECT_EQ(first.wait(), 0) << first.err();
}

}  // namespace
}  // namespace hull::test
