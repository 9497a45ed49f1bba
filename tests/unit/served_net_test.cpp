// A network device that a vhost-user back end serves.
#include "devices/net/served_net.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "devices/net/layout.h"
#include "tests/support/vhost_user_rig.h"

namespace hull::virtio {
namespace {

using test::VhostUserDeviceTest;
using test::VhostUserServer;
using Manners = VhostUserServer::Manners;

/// A network device with one pair of queues.
class ServedNetTest : public VhostUserDeviceTest {
  protected:
    static constexpr MacAddress kMac{2, 0, 0, 0, 7, 9};
    ServedNetTest() {
        kind_ = served_net_kind(kMac, 9000);
        make_device(manners());
    }
    static Manners manners() {
        Manners manners;
        manners.queues = 1;  // pairs
        manners.features |= feature(VIRTIO_NET_F_MRG_RXBUF) | feature(VIRTIO_NET_F_CSUM) |
                            feature(VIRTIO_NET_F_CTRL_VQ) | feature(VIRTIO_NET_F_MQ) |
                            feature(VIRTIO_NET_F_GUEST_ANNOUNCE);
        return manners;
    }
    virtio_net_config configuration() {
        virtio_net_config config{};
        transport_->read(VIRTIO_MMIO_CONFIG, std::as_writable_bytes(std::span{&config, 1}));
        return config;
    }
    bool wait_for_link(bool up) {
        return wait_for([&] { return configuration().status == (up ? VIRTIO_NET_S_LINK_UP : 0); });
    }
};

TEST_F(ServedNetTest, HasItsOwnAddressAndTheServersFeatures) {
    EXPECT_EQ(device_->type(), 1U);
    EXPECT_EQ(device_->features(), feature(VIRTIO_NET_F_MRG_RXBUF) | feature(VIRTIO_NET_F_CSUM) |
                                       feature(VIRTIO_NET_F_MAC) | feature(VIRTIO_NET_F_STATUS) |
                                       feature(VIRTIO_NET_F_MTU) | feature(VIRTIO_F_RING_RESET));
    const virtio_net_config config = configuration();
    EXPECT_TRUE(std::ranges::equal(config.mac, kMac));
    EXPECT_EQ(config.mtu, 9000);
    EXPECT_EQ(config.max_virtqueue_pairs, 1);
    EXPECT_EQ(config.status, VIRTIO_NET_S_LINK_UP);
    EXPECT_EQ(served_net_kind(kMac, 0).own_features & feature(VIRTIO_NET_F_MTU), 0U);
}

TEST_F(ServedNetTest, WhatIsItsOwnIsNotTheServersToKnow) {
    start(device_->features());
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->accepted, test::kVersion1 | feature(vhost_user::kProtocolFeatures) |
                                     feature(VIRTIO_NET_F_MRG_RXBUF) | feature(VIRTIO_NET_F_CSUM));
}

TEST_F(ServedNetTest, ALostServerTakesTheLinkDownAndFramesWithIt) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    for (const int head : {0, 2}) {
        request(0, head);
        request(1, head);
    }
    const int before = irq_.count();
    server_.reset();
    EXPECT_TRUE(wait_for_link(false));
    EXPECT_TRUE(wait_for([&] { return irq_.count() > before; }));
    // Buffers that it may have taken come back empty, once: what is given anew waits.
    EXPECT_THAT(wait_for_used(0, 2), testing::UnorderedElementsAre(0, 2));
    EXPECT_THAT(wait_for_used(1, 2), testing::UnorderedElementsAre(0, 2));
    request(0, 4);
    kick(0);
    request(1, 6);
    kick(1);
    EXPECT_THAT(wait_for_used(1, 1), testing::ElementsAre(6));
    EXPECT_TRUE(drivers_[0]->take_used().empty());
    come_back();
    ASSERT_TRUE(server_->wait_for_ring(0));
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->rings[0].base, 2U);
    EXPECT_EQ(server_->rings[1].base, 3U);
    EXPECT_TRUE(wait_for_link(true));
    answered_[0] = 2;
    answer(0, 4);
    signal_eventfd(server_->rings[0].call.get());
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(4));
    EXPECT_FALSE(needs_reset());
}

TEST_F(ServedNetTest, ALinkThatWasDownIsUpElsewhere) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    server_.reset();
    EXPECT_TRUE(wait_for_link(false));
    std::this_thread::sleep_for(std::chrono::milliseconds{300});  // until it is settled what it owed
    transport_->quiesce();
    StateWriter state;
    transport_->save(state);
    make_device(manners());
    StateReader reader{state.bytes()};
    transport_->load(reader);
    EXPECT_EQ(configuration().status, 0) << "as the driver knows it";
    const int before = irq_.count();
    transport_->resume();
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_TRUE(wait_for_link(true));
    EXPECT_TRUE(wait_for([&] { return irq_.count() > before; }));
}

}  // namespace
}  // namespace hull::virtio
