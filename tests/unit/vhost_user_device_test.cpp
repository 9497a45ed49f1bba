// Devices whose queues a vhost-user back end serves, well or badly, but for what happens once it is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <linux/virtio_blk.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "devices/block/served_disk.h"
#include "devices/fs/share.h"
#include "devices/rng/rng.h"
#include "tests/support/errors.h"
#include "tests/support/vhost_user_rig.h"

namespace hull::virtio {
namespace {

using test::VhostUserDeviceTest;
using test::VhostUserMessage;
using test::VhostUserServer;
using Manners = VhostUserServer::Manners;

TEST_F(VhostUserDeviceTest, ItsQueuesAreTheBackEndsWithKicksAndCalls) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(0));
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->accepted, test::kVersion1 | uint64_t{1} << vhost_user::kProtocolFeatures);
    for (uint32_t index = 0; index < 2; ++index) {
        VhostUserServer::Ring& ring = server_->rings[index];
        EXPECT_EQ(ring.size, kSize);
        EXPECT_EQ(ring.base, 0U);
        ASSERT_TRUE(ring.kick.valid() && ring.call.valid() && ring.err.valid());
        drain_eventfd(ring.kick.get());  // each is kicked once when it starts
        request(static_cast<int>(index), 2);
        kick(static_cast<int>(index));
        EXPECT_TRUE(is_readable(ring.kick.get()));
        // It sees what the driver wrote, through its own mapping.
        vring_desc descriptor{};
        std::memcpy(&descriptor, server_->at(ring.addresses.descriptor) + 2 * sizeof descriptor,
                    sizeof descriptor);
        EXPECT_EQ(descriptor.addr, kData + 0x200);
        uint16_t available[3] = {};
        std::memcpy(available, server_->at(ring.addresses.available), sizeof available);
        EXPECT_EQ(available[1], 1);
        EXPECT_EQ(available[2], 2);
        const int before = irq_.count();
        answer(index, 2);
        signal_eventfd(ring.call.get());
        EXPECT_TRUE(wait_for([&] { return irq_.count() > before; }));
        EXPECT_EQ(drivers_[index]->take_used().size(), 1U);
    }
}

uint64_t pages_written(GuestMemory& memory) {
    uint64_t pages = 0;
    memory.take_written([&](const GuestRange& range) { pages += range.size() / GuestMemory::kLogPage; });
    return pages;
}

TEST_F(VhostUserDeviceTest, ABackEndLogsWhatItWrites) {
    Manners manners;
    manners.protocol |= 1 << vhost_user::kLogShmfd;
    manners.features |= 1 << vhost_user::kLogAll;
    make_device(manners);
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->log.size(), 0U) << "nothing is logged yet";
    EXPECT_EQ(server_->accepted & 1 << vhost_user::kLogAll, 0U);
    transport_->quiesce();
    memory_.start_write_log();
    transport_->resume();
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_NE(server_->accepted & 1 << vhost_user::kLogAll, 0U);
    for (const uint32_t queue : {0U, 1U}) {
        EXPECT_EQ(server_->rings[queue].addresses.flags, vhost_user::kVringIsLogged);
        EXPECT_EQ(server_->rings[queue].addresses.log, raw(drivers_[queue]->config().device_area));
    }
    ASSERT_GT(server_->log.size(), 0U);
    EXPECT_EQ(pages_written(memory_), 0U);
    server_->log.bytes()[0] |= std::byte{0x28};
    EXPECT_EQ(pages_written(memory_), 2U);
    transport_->quiesce();
    EXPECT_EQ(pages_written(memory_), 0U);
    memory_.stop_write_log();
    transport_->resume();
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->accepted & 1 << vhost_user::kLogAll, 0U);
}

TEST_F(VhostUserDeviceTest, ABackEndThatCannotLogMayHaveWrittenAnywhere) {
    memory_.start_write_log();
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->accepted & 1 << vhost_user::kLogAll, 0U);
    static_cast<void>(pages_written(memory_));
    transport_->quiesce();
    EXPECT_EQ(pages_written(memory_), ranges_[0].size() / GuestMemory::kLogPage);
}

TEST_F(VhostUserDeviceTest, ADiskGoesOnElsewhereAndAnotherDiskDoesNotTakeItsPlace) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    request(1, 2);
    answer(1, 2);
    transport_->quiesce();
    request(1, 4);
    StateWriter state;
    transport_->save(state);
    make_device({});
    StateReader reader{state.bytes()};
    transport_->load(reader);
    transport_->resume();
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->rings[1].base, 1U) << "behind what was answered";
    answer(1, 4);
    EXPECT_EQ(wait_for_used(1, 2), (std::vector<uint32_t>{2, 4}));

    Manners other;
    other.configuration[0] = std::byte{1};
    make_device(other);
    StateReader again{state.bytes()};
    test::expect_error([&] { transport_->load(again); }, ExitStatus::bad_file, {"disk", "something else"});
}

TEST_F(VhostUserDeviceTest, AShareIsNotSaved) {
    kind_ = share_kind("src");
    make_device({});
    StateWriter state;
    test::expect_error([&] { device_->save(state); }, ExitStatus::usage, {"disk", "files open"});
}

TEST_F(VhostUserDeviceTest, AResetTakesTheQueuesBackBeforeItAnswers) {
    for (int round = 0; round < 3; ++round) {
        start();
        ASSERT_TRUE(server_->wait_for_ring(0));
        ASSERT_TRUE(server_->wait_for_ring(1));
        write_status(0);
        EXPECT_TRUE(server_->wait_until([](VhostUserServer& server) {
            return !server.rings[0].started && !server.rings[1].started && !server.rings[0].enabled;
        }));
        EXPECT_EQ(std::ranges::count(server_->requests, uint32_t{vhost_user::kGetVringBase}),
                  2 * (round + 1));
    }
    EXPECT_EQ(std::ranges::count(server_->requests, uint32_t{vhost_user::kSetOwner}), 1);
}

TEST_F(VhostUserDeviceTest, OffersOnlyWhatAllSidesHave) {
    Manners manners;
    manners.features = test::kVersion1 | uint64_t{1} << vhost_user::kProtocolFeatures |
                       uint64_t{1} << VIRTIO_RING_F_EVENT_IDX | uint64_t{1} << VIRTIO_BLK_F_FLUSH |
                       uint64_t{1} << VIRTIO_BLK_F_CONFIG_WCE | uint64_t{1} << VIRTIO_F_RING_PACKED |
                       uint64_t{1} << 26;  // VHOST_F_LOG_ALL
    make_device(manners);
    test::MmioDriver registers{*transport_};
    registers.set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    const uint64_t low = registers.get(VIRTIO_MMIO_DEVICE_FEATURES);
    registers.set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    const uint64_t offered = low | uint64_t{registers.get(VIRTIO_MMIO_DEVICE_FEATURES)} << 32;
    EXPECT_EQ(offered, test::kVersion1 | uint64_t{1} << VIRTIO_RING_F_EVENT_IDX |
                           uint64_t{1} << VIRTIO_BLK_F_FLUSH | uint64_t{1} << VIRTIO_F_RING_RESET);
}

TEST_F(VhostUserDeviceTest, TheConfigurationIsTheBackEndsButForTheQueues) {
    Manners manners;
    manners.configuration[0] = std::byte{9};
    make_device(manners);
    test::MmioDriver registers{*transport_};
    EXPECT_EQ(registers.get(VIRTIO_MMIO_DEVICE_ID), 2U);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG), 9U);
    uint16_t queues = 0;
    transport_->read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, num_queues),
                     std::as_writable_bytes(std::span{&queues, 1}));
    EXPECT_EQ(queues, 2);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG + Manners{}.configuration.size()), 0U);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG + 0x400), 0U);
}

/// Every way in which a back end can go wrong once the driver has started.
TEST_F(VhostUserDeviceTest, ABackEndGoneWildCostsItsDeviceOnly) {
    const auto spoil = [](uint32_t request, std::function<bool(VhostUserMessage&)> change) {
        Manners manners;
        manners.change = [=](VhostUserMessage& answer) {
            return answer.request != request || change(answer);
        };
        return manners;
    };
    const auto refuse = [](VhostUserMessage& answer) {
        answer.set(uint64_t{1});
        return true;
    };
    const auto close = [](VhostUserMessage&) { return false; };
    struct Row {
        const char* name;
        Manners manners;
    };
    const Row rows[] = {
        {"refuses the memory", spoil(vhost_user::kSetMemTable, refuse)},
        {"refuses a queue's size", spoil(vhost_user::kSetVringNum, refuse)},
        {"refuses the features", spoil(vhost_user::kSetFeatures, refuse)},
        {"refuses to enable", spoil(vhost_user::kSetVringEnable, refuse)},
        {"closes when it gets a kick", spoil(vhost_user::kSetVringKick, close)},
        {"another answer", spoil(vhost_user::kSetVringAddr,
                                 [](VhostUserMessage& answer) {
                                     answer.request = vhost_user::kGetFeatures;
                                     return true;
                                 })},
    };
    Rng rng;
    test::CountingIrqLine rng_irq;
    MmioTransport rng_transport{rng, memory_, rng_irq, "rng"};
    test::DriverQueue rng_driver{memory_, 0x6000, kSize};
    test::MmioDriver rng_registers{rng_transport};
    rng_registers.negotiate(test::kVersion1);
    rng_registers.set_queue(0, rng_driver.config());
    rng_registers.start();
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        make_device(row.manners);
        start();
        request(0, 2);
        kick(0);
        EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(2));
        EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(2)}), VIRTIO_BLK_S_IOERR);
        EXPECT_FALSE(needs_reset());
        write_status(0);
        EXPECT_EQ(status(), 0U);

        const test::Buffer buffer[] = {{0x7800, 16, true}};
        rng_driver.add(buffer);
        rng_registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        EXPECT_TRUE(wait_for([&] { return !rng_driver.take_used().empty(); })) << "the second device";
    }
}

TEST_F(VhostUserDeviceTest, ABackEndThatDoesNotGiveQueuesBackIsLeftAtAReset) {
    const Manners rows[] = {
        {.change = [](VhostUserMessage& answer) { return answer.request != vhost_user::kGetVringBase; }},
        {.change =
             [](VhostUserMessage& answer) {
                 if (answer.request == vhost_user::kGetVringBase) {
                     answer.set(vhost_user::VringState{.index = 7, .num = 0});
                 }
                 return true;
             }},
    };
    for (const Manners& manners : rows) {
        make_device(manners);
        start();
        ASSERT_TRUE(server_->wait_for_ring(1));
        write_status(0);
        EXPECT_EQ(status(), 0U);
        EXPECT_TRUE(server_->wait_until([](VhostUserServer& server) { return server.ended; }));
    }
}

TEST_F(VhostUserDeviceTest, WhatABackEndSaysUnaskedEndsItsConnection) {
    auto [front, back] = test::make_socket_pair();
    const int speak = dup(back.get());
    server_ = std::make_unique<VhostUserServer>(std::move(back));
    transport_.reset();
    device_ = std::make_unique<VhostUserDevice>(kind_, greet_vhost_user(std::move(front), kind_, "", ""),
                                                nullptr, "disk");
    transport_ = std::make_unique<MmioTransport>(*device_, memory_, irq_, "disk");
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    ASSERT_EQ(write(speak, "hello", 5), 5);
    const UniqueFd closes{speak};
    request(0, 0);
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(0));
    EXPECT_TRUE(server_->wait_until([](VhostUserServer& server) { return server.ended; }));
}

TEST_F(VhostUserDeviceTest, AQueueThatTheBackEndFindsBrokenNeedsAReset) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    signal_eventfd(server_->rings[1].err.get());
    EXPECT_TRUE(wait_for([&] { return needs_reset(); }));
    write_status(0);
    start();
    EXPECT_TRUE(server_->wait_for_ring(0));
    EXPECT_FALSE(needs_reset());
}

TEST_F(VhostUserDeviceTest, OneQueueIsResetAndTheOtherGoesOn) {
    start(uint64_t{1} << VIRTIO_F_RING_RESET);
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->accepted & uint64_t{1} << VIRTIO_F_RING_RESET, 0U) << "not the server's to know";
    for (const uint32_t queue : {0U, 1U}) {
        request(static_cast<int>(queue), 2);
        answer(queue, 2);
        EXPECT_THAT(wait_for_used(static_cast<int>(queue), 1), testing::ElementsAre(2));
    }
    test::MmioDriver registers{*transport_};
    registers.reset_queue(0, 1);
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_FALSE(server_->rings[0].enabled);
    EXPECT_FALSE(server_->rings[0].started);
    EXPECT_EQ(server_->rings[1].base, 1U);
    request(1, 4);
    answer(1, 4);
    signal_eventfd(server_->rings[1].call.get());
    EXPECT_THAT(wait_for_used(1, 1), testing::ElementsAre(4));
    // The first is enabled again, elsewhere.
    drivers_[0].emplace(memory_, kRings + 2 * kRingsApart, kSize);
    registers.set_queue(0, drivers_[0]->config());
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(server_->rings[0].base, 0U);
    EXPECT_EQ(server_->rings[1].base, 2U);
    answered_[0] = 0;
    request(0, 6);
    answer(0, 6);
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(6));
    EXPECT_FALSE(needs_reset());
}

/// A back end that has done its worst to what it shares with this process cannot keep it from going on.
TEST_F(VhostUserDeviceTest, WhatABackEndDoesWithSharedEventfdsHoldsNobodyUp) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    // It takes its own calls back, over and over, so that the one who was woken finds nothing.
    const int call = server_->rings[0].call.get();
    const int err = server_->rings[1].err.get();
    uint64_t count = 0;
    const iovec part{&count, sizeof count};
    for (int round = 0; round < 20'000; ++round) {
        for (const int fd : {call, err}) {
            signal_eventfd(fd);
            static_cast<void>(preadv2(fd, &part, 1, -1, RWF_NOWAIT));
        }
    }
    // And fills the counter of the driver's kicks.
    const uint64_t most = UINT64_MAX - 1;
    const int kick = server_->rings[0].kick.get();
    static_cast<void>(preadv2(kick, &part, 1, -1, RWF_NOWAIT));
    ASSERT_EQ(write(kick, &most, sizeof most), 8);
    write_status(0);
    EXPECT_EQ(status(), 0U);
    start();
    EXPECT_TRUE(server_->wait_for_ring(1));
    request(0, 2);
    answer(0, 2);
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(2));
}

TEST(Share, TellsItsTagAndRefusesRequestsAsFuseDoes) {
    const VhostUserKind kind = share_kind("src");
    EXPECT_EQ(kind.type, 26U);
    EXPECT_EQ(kind.queue_sizes.size(), 2U);
    const auto config = kind.make_configuration({}, true);
    ASSERT_EQ(config.size(), 40U);
    EXPECT_STREQ(reinterpret_cast<const char*>(config.data()), "src");
    EXPECT_EQ(config[36], std::byte{1});

    fuse_in_header question{};
    question.unique = 77;
    fuse_out_header answer{};
    const iovec readable[] = {{&question, sizeof question}};
    const iovec writable[] = {{&answer, sizeof answer}};
    EXPECT_EQ(kind.refuse(DescriptorChain{0, readable, sizeof question, writable, sizeof answer}),
              sizeof answer);
    EXPECT_EQ(answer.len, sizeof answer);
    EXPECT_EQ(answer.error, -EIO);
    EXPECT_EQ(answer.unique, 77U);
    EXPECT_EQ(kind.refuse(DescriptorChain{0, readable, sizeof question, {}, 0}), 0U) << "FORGET";
    EXPECT_EQ(kind.refuse(DescriptorChain{0, {}, 0, writable, 4}), 0U) << "no room";
}

TEST(ServedDisk, RefusesWhatHasNoRoomForAnAnswer) {
    uint8_t bytes[2] = {0x77, 0x77};
    const iovec writable[] = {{bytes, 2}};
    const VhostUserKind kind = served_disk_kind(1);
    EXPECT_EQ(kind.refuse(DescriptorChain{0, {}, 0, {}, 0}), 0U);
    EXPECT_EQ(kind.refuse(DescriptorChain{0, {}, 0, writable, 2}), 2U);
    EXPECT_EQ(bytes[1], VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(bytes[0], 0x77);
    EXPECT_EQ(kind.features & uint64_t{1} << VIRTIO_BLK_F_MQ, 0U);
}

}  // namespace
}  // namespace hull::virtio
