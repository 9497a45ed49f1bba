// What the host's kernel does with a network device's queues, without a guest: that it goes on after a pause,
// and that the log of writes tells what it has written.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "devices/net/layout.h"
#include "devices/net/net.h"
#include "devices/net/tap.h"
#include "tests/support/device_rig.h"
#include "tests/support/side.h"
#include "tests/support/tap_device.h"

namespace hull::test {
namespace {

TEST(VhostState, ItsWritesAreLoggedAndItGoesOnWhereItWas) {
    const TapDevice tap;
    if (!tap.made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    if (access("/dev/vhost-net", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "this host has no vhost-net for this user";
    }
    std::vector<virtio::NetLink> links(1);
    links[0].fd = std::move(virtio::open_tap("hulltest0", 1).front());
    links[0].vhost = virtio::open_vhost_net().value();
    auto device = std::make_unique<virtio::Net>(
        virtio::NetSettings{.offloads = virtio::NetOffloads::all, .name = "net"}, std::move(links));
    Rig<MmioSide> rig{2, [&] { return std::move(device); }};
    rig.start(kVersion1 | virtio::feature(VIRTIO_NET_F_MRG_RXBUF));
    uint64_t offered = 0;
    size_t received = 0;
    for (int round = 0; round < 3; ++round) {
        while (offered < received + 10) {
            rig.offer(0, offered++);
        }
        rig.watch();
        // What the host has sent by itself until now may have been written before the log was cleared.
        received = rig.used(0);
        rig.side().kick(0);
        // The host asks everybody who has that address.
        EXPECT_NE(std::system("ping -c 1 -W 1 10.201.7.2 >/dev/null 2>&1"), 0);
        size_t came = 0;
        EXPECT_TRUE(eventually([&] { return (came = rig.used(0)) > received; }));
        rig.pause();
        received = came;
        EXPECT_GE(rig.told(), 2U) << "the used ring, and each frame";
        rig.resume();
    }
}

}  // namespace
}  // namespace hull::test
