// Queues that are reset while their device runs (VIRTIO 1.2, 2.6.1), on each transport.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <functional>

#include "tests/support/side.h"

namespace hull::virtio {
namespace {

using test::kReset;
using test::kVersion1;
using test::MmioSide;
using test::PciSide;
using test::Side;

template <typename Transport>
using Guest = test::TwoQueueGuest<Transport>;

template <typename Transport>
class QueueReset : public testing::Test {};
using Transports = testing::Types<MmioSide, PciSide>;
TYPED_TEST_SUITE(QueueReset, Transports);

TYPED_TEST(QueueReset, OneBeginsAnewAndTheOtherGoesOnWhereItWas) {
    Guest<TypeParam> guest;
    guest.start();
    // Of the second: two requests are done, one was taken, and one is still there.
    for (const uint16_t head : std::initializer_list<uint16_t>{0, 1, 2, 3}) {
        guest.second.add(guest.buffers, head);
    }
    for (int done = 0; done < 2; ++done) {
        guest.queue(1)->push(std::move(*guest.queue(1)->pop().value()), 1);
    }
    EXPECT_TRUE(guest.queue(1)->pop().value());
    ASSERT_TRUE(guest.serves());
    const int interrupts = guest.side.interrupts(1);

    guest.side.reset_queue(0, 1);
    EXPECT_FALSE(guest.side.is_resetting(0));
    EXPECT_TRUE(guest.side.is_forgotten(0));
    EXPECT_TRUE(guest.side.is_enabled(1));
    EXPECT_EQ(guest.device.stops, 1);
    EXPECT_EQ(guest.device.resets, 0) << "the device forgot what its driver had set";
    ASSERT_EQ(guest.queues(), 1U);
    EXPECT_EQ(guest.device.activation->features, kVersion1 | kReset);
    EXPECT_GT(guest.side.interrupts(1), interrupts) << "what was given back may not have been told";
    for (const uint16_t head : std::initializer_list<uint16_t>{2, 3}) {
        auto chain = guest.queue(1)->pop().value();
        ASSERT_TRUE(chain);
        EXPECT_EQ(chain->head(), head);
        guest.queue(1)->push(std::move(*chain), 1);
    }
    EXPECT_FALSE(guest.queue(1)->pop().value());
    EXPECT_EQ(guest.second.take_used().size(), 4U);
    guest.side.kick(0);

    // The first elsewhere and smaller.
    guest.side.set_queue(0, guest.again.config());
    EXPECT_TRUE(guest.side.is_enabled(0));
    EXPECT_FALSE(guest.side.is_resetting(0));
    ASSERT_EQ(guest.queues(), 2U);
    EXPECT_EQ(guest.queue(0)->size(), 4);
    guest.again.add(guest.buffers, 1);
    EXPECT_EQ(guest.queue(0)->pop().value()->head(), 1);
    guest.second.add(guest.buffers, 5);
    EXPECT_EQ(guest.queue(1)->pop().value()->head(), 5);
    // Where it was: from its beginning, not from where it was left.
    guest.side.reset_queue(0, 1);
    EXPECT_TRUE(guest.memory.discard(GuestRange::of(0x3000, 0x1000)));
    test::DriverQueue anew{guest.memory, 0x3000, 4};
    guest.side.set_queue(0, anew.config());
    EXPECT_TRUE(guest.serves(anew));
    EXPECT_EQ(guest.side.status(), test::kReadyToStart | VIRTIO_CONFIG_S_DRIVER_OK);
}

/// What a driver does, and how many queues the device has then.
struct Row {
    const char* what;
    std::function<void(Side&, const QueueConfig& good)> act;
    size_t queues = 2;
    bool broken = false;
    uint64_t features = kVersion1 | kReset;
};

QueueConfig outside_of_memory(QueueConfig config) {
    config.driver_area = GuestAddress{uint64_t{1} << 40};
    return config;
}

const Row kRows[] = {
    {"without the feature", [](Side& side, const QueueConfig& /*good*/) { side.reset_queue(0, 1); }, 2, false,
     kVersion1},
    {"values that are none",
     [](Side& side, const QueueConfig& /*good*/) {
         side.reset_queue(0, 0);
         side.reset_queue(0, 2);
         side.reset_queue(0, 0xffff);
     }},
    {"queues that are not there",
     [](Side& side, const QueueConfig& good) {
         for (const uint16_t index : std::initializer_list<uint16_t>{2, 3, 0x8000, 0xffff}) {
             side.reset_queue(index, 1);
             side.set_queue(index, good);
             side.reset_queue(index, 1);
             side.kick(index);
         }
     }},
    {"twice",
     [](Side& side, const QueueConfig& /*good*/) {
         side.reset_queue(0, 1);
         side.reset_queue(0, 1);
     },
     1},
    {"all of them, with kicks",
     [](Side& side, const QueueConfig& /*good*/) {
         for (const uint16_t index : std::initializer_list<uint16_t>{0, 1}) {
             side.reset_queue(index, 1);
             side.kick(index);
         }
     },
     0},
    {"a change of one that is enabled",
     [](Side& side, const QueueConfig& good) {
         QueueConfig other = good;
         other.size = 4;
         side.set_queue(0, other);
     }},
    {"enabled again outside of memory",
     [](Side& side, const QueueConfig& good) {
         side.reset_queue(0, 1);
         side.set_queue(0, outside_of_memory(good));
     },
     0, true},
    {"enabled again larger than it may be",
     [](Side& side, const QueueConfig& good) {
         side.reset_queue(0, 1);
         QueueConfig large = good;
         large.size = 16;
         side.set_queue(0, large);
     },
     0, true},
    {"a reset of what has broken the device",
     [](Side& side, const QueueConfig& good) {
         side.reset_queue(0, 1);
         side.set_queue(0, outside_of_memory(good));
         side.reset_queue(0, 1);
         side.set_queue(0, good);
     },
     0, true},
    {"before the device runs",
     [](Side& side, const QueueConfig& good) {
         side.negotiate(kVersion1 | kReset);
         side.set_queue(0, good);
         side.reset_queue(0, 1);
         side.start();
     },
     0},
};

TYPED_TEST(QueueReset, AHostileDriverCostsItsOwnDeviceOnly) {
    Guest<TypeParam> other;
    other.start();
    for (const Row& row : kRows) {
        SCOPED_TRACE(row.what);
        Guest<TypeParam> guest;
        guest.start(row.features);
        row.act(guest.side, guest.first.config());
        EXPECT_EQ(guest.queues(), row.queues);
        EXPECT_EQ((guest.side.status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0, row.broken);
        guest.start();
        EXPECT_EQ(guest.queues(), 2U);
        EXPECT_EQ(guest.side.status(), test::kReadyToStart | VIRTIO_CONFIG_S_DRIVER_OK);
        EXPECT_TRUE(guest.serves()) << "it does not recover";
        EXPECT_TRUE(other.serves());
    }
}

TYPED_TEST(QueueReset, ADeviceThatIsBrokenStaysSo) {
    Guest<TypeParam> guest;
    guest.start();
    guest.device.activation->driver.needs_reset("a test");
    guest.side.reset_queue(0, 1);
    EXPECT_FALSE(guest.device.activation) << "it would touch what the driver has back";
    EXPECT_TRUE(guest.side.is_forgotten(0));
    guest.side.set_queue(0, guest.first.config());
    EXPECT_FALSE(guest.device.activation);
    guest.start();
    EXPECT_TRUE(guest.serves());
}

TYPED_TEST(QueueReset, APositionThatCannotBeIsTheQueuesError) {
    Guest<TypeParam> guest;
    guest.start();
    // Where the device writes how far it has come.
    EXPECT_TRUE(guest.memory.write(GuestAddress{raw(guest.second.config().device_area) + 2}, uint16_t{900}));
    guest.side.reset_queue(0, 1);
    ASSERT_NE(guest.queue(1), nullptr);
    EXPECT_FALSE(guest.queue(1)->pop());
}

}  // namespace
}  // namespace hull::virtio
