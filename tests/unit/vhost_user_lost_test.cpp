// What becomes of requests whose vhost-user back end is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "tests/support/errors.h"
#include "tests/support/vhost_user_rig.h"

namespace hull::virtio {
namespace {

using test::VhostUserDeviceTest;
using test::VhostUserMessage;
using test::VhostUserServer;
using Manners = VhostUserServer::Manners;

TEST_F(VhostUserDeviceTest, WhatALostBackEndOwesIsAnsweredWithErrors) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    for (const int head : {0, 2, 4}) {
        request(1, head);
    }
    answer(1, 2);  // out of order
    server_.reset();
    EXPECT_THAT(wait_for_used(1, 3), testing::UnorderedElementsAre(2, 0, 4));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(0)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(4)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(2)}), 0x77) << "the back end's own answer";
    EXPECT_GE(irq_.count(), 1);
    // What comes later is answered too, in either queue.
    for (const int queue : {0, 1, 1}) {
        request(queue, 6);
        kick(queue);
        EXPECT_THAT(wait_for_used(queue, 1), testing::ElementsAre(6));
        EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(6)}), VIRTIO_BLK_S_IOERR);
    }
    EXPECT_FALSE(needs_reset());
    write_status(0);
    EXPECT_EQ(status(), 0U);
}

TEST_F(VhostUserDeviceTest, ABackEndThatIsBackGoesOnWhereTheErrorsEnd) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(0));
    for (const int head : {0, 2}) {
        request(0, head);
    }
    server_.reset();
    EXPECT_EQ(wait_for_used(0, 2).size(), 2U);
    Manners manners;
    manners.configuration[1] = std::byte{5};
    come_back(manners);
    ASSERT_TRUE(server_->wait_for_ring(0));
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->rings[0].base, 2U);
    EXPECT_EQ(server_->rings[1].base, 0U);
    EXPECT_TRUE(is_readable(server_->rings[0].kick.get())) << "a kick may have been missed";
    EXPECT_EQ(test::MmioDriver{*transport_}.get(VIRTIO_MMIO_CONFIG), 5U << 8);
    answered_[0] = 2;
    request(0, 4);
    answer(0, 4);
    signal_eventfd(server_->rings[0].call.get());
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(4));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(4)}), 0x77);
}

TEST_F(VhostUserDeviceTest, ABackEndThatIsReplacedBeforeTheDriverComesIsFoundAgain) {
    server_.reset();
    const UniqueFd listener = test::listen_unix(path_);
    start();
    UniqueFd connection{accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    server_ = std::make_unique<VhostUserServer>(std::move(connection));
    EXPECT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(server_->rings[0].base, 0U);
}

TEST_F(VhostUserDeviceTest, RingsThatMakeNoSenseWithoutABackEndNeedAReset) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    drivers_[1]->set_available_index(100);
    server_.reset();
    EXPECT_TRUE(wait_for([&] { return needs_reset(); }));
    write_status(0);
    EXPECT_EQ(status(), 0U);
}

/// The same whose back ends note requests in flight.
class VhostUserResubmissionTest : public VhostUserDeviceTest {
  protected:
    VhostUserResubmissionTest() { make_noting_device(std::chrono::seconds{30}); }
    static ino_t inode_of(int fd) {
        struct stat status {};
        EXPECT_EQ(fstat(fd, &status), 0);
        return status.st_ino;
    }
    static Manners noting() {
        Manners manners;
        manners.protocol |= 1 << vhost_user::kInflightFd;
        return manners;
    }
    void make_noting_device(std::chrono::milliseconds patience) {
        patience_ = patience;
        std::ranges::fill(answered_, uint16_t{0});
        make_device(noting());
        start();
        EXPECT_TRUE(server_->wait_for_ring(1));
    }
};

TEST_F(VhostUserResubmissionTest, WhatIsInFlightWaitsForTheNextBackEnd) {
    const ino_t note = inode_of(server_->inflight.get());
    for (const int head : {0, 2, 4}) {
        request(0, head);
    }
    answer(0, 2);  // out of order, and without a call
    const int before = irq_.count();
    server_.reset();
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(2));
    EXPECT_TRUE(wait_for([&] { return irq_.count() > before; })) << "nobody else would call for it";
    request(0, 6);
    kick(0);
    EXPECT_EQ(drivers_[0]->take_used().size(), 0U);
    come_back(noting());
    ASSERT_TRUE(server_->wait_for_ring(0));
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->rings[0].base, 1U) << "behind what was answered: the note has the rest";
    EXPECT_EQ(server_->rings[1].base, 0U);
    EXPECT_EQ(inode_of(server_->inflight.get()), note);
    for (const uint16_t head : {uint16_t{4}, uint16_t{0}, uint16_t{6}}) {
        answer(0, head);
    }
    signal_eventfd(server_->rings[0].call.get());
    EXPECT_THAT(wait_for_used(0, 3), testing::ElementsAre(4, 0, 6));
    for (const int head : {0, 2, 4, 6}) {
        EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(head)}), 0x77) << head;
    }
}

TEST_F(VhostUserResubmissionTest, NoneThatComesBackInTimeIsAnError) {
    make_noting_device(std::chrono::milliseconds{300});
    for (const int head : {0, 2, 4}) {
        request(0, head);
    }
    answer(0, 2);
    const ino_t note = inode_of(server_->inflight.get());
    server_.reset();
    EXPECT_THAT(wait_for_used(0, 3), testing::UnorderedElementsAre(2, 0, 4));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(0)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(4)}), VIRTIO_BLK_S_IOERR);
    // One that comes later must not find in its note what the driver has an error for.
    come_back(noting());
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(server_->rings[0].base, 3U);
    EXPECT_NE(inode_of(server_->inflight.get()), note);
}

TEST_F(VhostUserResubmissionTest, OneThatComesBackWithoutANoteLeavesErrors) {
    request(0, 2);
    server_.reset();
    come_back({});
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(2));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(2)}), VIRTIO_BLK_S_IOERR);
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(server_->rings[0].base, 1U);
}

TEST_F(VhostUserResubmissionTest, ARequestThatKillsEveryBackEndEndsInAnError) {
    make_noting_device(std::chrono::milliseconds{2500});
    request(0, 2);
    server_.reset();
    for (int round = 0; round < 10 && drivers_[0]->take_used().empty(); ++round) {
        come_back(noting());
        server_->wait_for_ring(0);
        server_.reset();
    }
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(2)}), VIRTIO_BLK_S_IOERR);
    EXPECT_FALSE(needs_reset());
}

TEST_F(VhostUserResubmissionTest, ADriverDoesNotWaitForAReset) {
    const ino_t note = inode_of(server_->inflight.get());
    request(0, 2);
    server_.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
    write_status(0);
    EXPECT_EQ(status(), 0U);
    std::ranges::fill(answered_, uint16_t{0});
    start();
    come_back(noting());
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(server_->rings[0].base, 0U);
    EXPECT_NE(inode_of(server_->inflight.get()), note) << "what was in flight is no more";
}

TEST_F(VhostUserResubmissionTest, WhatIsInFlightWaitsOverAPause) {
    const ino_t note = inode_of(server_->inflight.get());
    for (const int head : {0, 2, 4}) {
        request(0, head);
    }
    answer(0, 2);  // out of order: who went by the used index alone would do 2 again, and never 0
    server_.reset();
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(2));
    for (const int pause : {0, 300}) {
        transport_->quiesce();
        std::this_thread::sleep_for(std::chrono::milliseconds{pause});
        transport_->resume();
    }
    transport_->quiesce();
    StateWriter state;
    test::expect_error([&] { transport_->save(state); }, ExitStatus::bad_file,
                       {"cannot save", "disk", "server is lost"});
    transport_->resume();
    EXPECT_TRUE(drivers_[0]->take_used().empty()) << "no error is given";
    come_back(noting());
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(server_->rings[0].base, 1U);
    EXPECT_EQ(inode_of(server_->inflight.get()), note);
    answer(0, 4);
    answer(0, 0);
    EXPECT_THAT(wait_for_used(0, 2), testing::ElementsAre(4, 0));
    // With what it owed it can be saved again.
    transport_->quiesce();
    transport_->save(state);
    transport_->resume();
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_NE(inode_of(server_->inflight.get()), note);
}

TEST_F(VhostUserResubmissionTest, APauseIsNotTimeInWhichNobodyCameBack) {
    make_noting_device(std::chrono::milliseconds{1500});
    request(0, 2);
    server_.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    transport_->quiesce();
    std::this_thread::sleep_for(std::chrono::milliseconds{1600});
    transport_->resume();
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    come_back(noting());
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_TRUE(drivers_[0]->take_used().empty());
    EXPECT_EQ(server_->rings[0].base, 0U);
}

TEST_F(VhostUserResubmissionTest, OneThatDoesNotGiveQueuesBackForAPauseStillOwes) {
    Manners rude = noting();
    rude.change = [](VhostUserMessage& answer) { return answer.request != vhost_user::kGetVringBase; };
    make_device(rude);
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    const ino_t note = inode_of(server_->inflight.get());
    for (const int head : {0, 2, 4}) {
        request(0, head);
    }
    answer(0, 2);
    transport_->quiesce();
    transport_->resume();
    come_back(noting());
    ASSERT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(inode_of(server_->inflight.get()), note);
    EXPECT_EQ(server_->rings[0].base, 1U);
}

TEST_F(VhostUserResubmissionTest, AQueueThatIsResetMeanwhileIsNotDoneAgain) {
    start(uint64_t{1} << VIRTIO_F_RING_RESET);
    ASSERT_TRUE(server_->wait_for_ring(1));
    const ino_t note = inode_of(server_->inflight.get());
    for (const int head : {0, 2, 4}) {
        request(0, head);
        request(1, head);
    }
    answer(1, 2);
    server_.reset();
    EXPECT_THAT(wait_for_used(1, 1), testing::ElementsAre(2));
    test::MmioDriver registers{*transport_};
    registers.reset_queue(0, 1);
    // What the other one's requests wait for would do those of the first too.
    EXPECT_THAT(wait_for_used(1, 2), testing::UnorderedElementsAre(0, 4));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(4)}), VIRTIO_BLK_S_IOERR);
    drivers_[0].emplace(memory_, kRings + 2 * kRingsApart, kSize);
    registers.set_queue(0, drivers_[0]->config());
    come_back(noting());
    ASSERT_TRUE(server_->wait_for_ring(0));
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->rings[0].base, 0U);
    EXPECT_EQ(server_->rings[1].base, 3U);
    EXPECT_NE(inode_of(server_->inflight.get()), note);
}

TEST_F(VhostUserDeviceTest, WhatALostBackEndOwesIsAnsweredWithErrorsOverAPauseToo) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    for (const int head : {0, 2, 4}) {
        request(1, head);
    }
    answer(1, 2);
    server_.reset();
    // Before it was seen to what is owed.
    transport_->quiesce();
    transport_->resume();
    EXPECT_THAT(wait_for_used(1, 3), testing::UnorderedElementsAre(2, 0, 4));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(0)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(4)}), VIRTIO_BLK_S_IOERR);
    EXPECT_FALSE(needs_reset());
}

TEST_F(VhostUserDeviceTest, WithoutABackEndEachRequestIsAnsweredOnceInWhateverOrderTheLastOneAnswered) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    request(1, 0);
    request(1, 2);
    answer(1, 2);
    answer(1, 0);
    server_.reset();
    EXPECT_EQ(wait_for_used(1, 2).size(), 2U);
    for (int round = 0; round < 20; ++round) {
        for (const int head : {0, 2}) {
            request(1, head);
            kick(1);
            EXPECT_THAT(wait_for_used(1, 1), testing::ElementsAre(head));
        }
    }
}

}  // namespace
}  // namespace hull::virtio
