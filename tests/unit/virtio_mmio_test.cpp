#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <poll.h>

#include <algorithm>
#include <string>
#include <thread>

#include "devices/rng/rng.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/support/fake_devices.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/recording_device.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::kReadyToStart;
using test::kVersion1;
using test::RecordingDevice;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kData = 0x10000;

class MmioTransportTest : public testing::Test {
  protected:
    const GuestRange ranges_[1] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    test::DriverQueue queue_{memory_, kRings, 8};
    test::CountingIrqLine irq_;
    RecordingDevice device_;
    MmioTransport transport_{device_, memory_, irq_, "recorder"};
    test::MmioDriver registers_{transport_};
};

TEST_F(MmioTransportTest, IsFoundNegotiatedAndStarted) {
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976U);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_VERSION), 2U);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_DEVICE_ID), static_cast<uint32_t>(VIRTIO_ID_CONSOLE));
    registers_.set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_DEVICE_FEATURES), 1U << 3 | 3U << VIRTIO_RING_F_INDIRECT_DESC);
    registers_.set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_DEVICE_FEATURES), 1U);
    registers_.negotiate(kVersion1 | 1U << 3);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_STATUS), kReadyToStart);
    registers_.set(VIRTIO_MMIO_QUEUE_SEL, 1);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_QUEUE_NUM_MAX), 16U);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_QUEUE_READY), 0U);
    registers_.set_queue(1, queue_.config());
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_QUEUE_READY), 1U);
    EXPECT_FALSE(device_.activation);
    registers_.start();
    ASSERT_TRUE(device_.activation);
    EXPECT_EQ(device_.activation->features, kVersion1 | 1U << 3);
    ASSERT_EQ(device_.activation->queues.size(), 1U) << "the other one was left out";
    EXPECT_EQ(device_.activation->queues[0].index, 1);
    EXPECT_EQ(device_.activation->queues[0].queue.size(), 8);

    registers_.set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    pollfd kick{device_.activation->queues[0].kick_fd, POLLIN, 0};
    EXPECT_EQ(poll(&kick, 1, 0), 1);

    registers_.set(VIRTIO_MMIO_STATUS, 0);
    EXPECT_EQ(device_.resets, 1);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_STATUS), 0U);
    registers_.set(VIRTIO_MMIO_QUEUE_SEL, 1);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_QUEUE_READY), 0U);
}

TEST_F(MmioTransportTest, InterruptsAreToldAndAcknowledged) {
    registers_.negotiate(kVersion1);
    registers_.set_queue(0, queue_.config());
    registers_.start();
    device_.activation->driver.used_buffers(0);
    EXPECT_EQ(irq_.count(), 1);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_INTERRUPT_STATUS), static_cast<uint32_t>(VIRTIO_MMIO_INT_VRING));
    const uint32_t generation = registers_.get(VIRTIO_MMIO_CONFIG_GENERATION);
    device_.activation->driver.configuration_changed();
    EXPECT_EQ(irq_.count(), 2);
    EXPECT_NE(registers_.get(VIRTIO_MMIO_CONFIG_GENERATION), generation);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_INTERRUPT_STATUS),
              static_cast<uint32_t>(VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG));
    registers_.set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_INTERRUPT_STATUS), static_cast<uint32_t>(VIRTIO_MMIO_INT_CONFIG));
    device_.activation->driver.needs_reset("a test");
    EXPECT_NE(registers_.get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0U);
    EXPECT_EQ(irq_.count(), 3);
}

TEST_F(MmioTransportTest, FeaturesThatWereNotOfferedOrVersion0AreNotAccepted) {
    for (const uint64_t features : {uint64_t{0}, uint64_t{1} << 3, kVersion1 | uint64_t{1} << 4,
                                    kVersion1 | uint64_t{1} << 63, ~uint64_t{0}}) {
        registers_.negotiate(features);
        EXPECT_EQ(registers_.get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK, 0U) << features;
        registers_.start();
        EXPECT_FALSE(device_.activation) << features;
    }
}

TEST_F(MmioTransportTest, StepsOutOfOrderStartNothing) {
    registers_.start();  // DRIVER_OK at once: no features were accepted
    EXPECT_FALSE(device_.activation);
    registers_.set(VIRTIO_MMIO_STATUS, 0);
    registers_.set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER_OK);
    EXPECT_FALSE(device_.activation);
    registers_.negotiate(kVersion1);
    registers_.set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    registers_.set(VIRTIO_MMIO_DRIVER_FEATURES, 1U << 3);  // too late
    registers_.set(VIRTIO_MMIO_STATUS, kReadyToStart | VIRTIO_CONFIG_S_FAILED);
    registers_.start();
    EXPECT_FALSE(device_.activation) << "the driver has given up";
    registers_.negotiate(kVersion1);
    registers_.start();
    ASSERT_TRUE(device_.activation);
    EXPECT_EQ(device_.activation->features, kVersion1);
    // Once it runs, nothing is changed under it.
    registers_.set_queue(0, queue_.config());
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_QUEUE_READY), 0U);
    registers_.start();
    EXPECT_EQ(device_.resets, 0);
}

TEST_F(MmioTransportTest, ABadQueueNeedsAReset) {
    struct Row {
        const char* what;
        QueueConfig config;
    };
    QueueConfig too_large = queue_.config();
    too_large.size = 16;
    QueueConfig outside = queue_.config();
    outside.device_area = GuestAddress{uint64_t{1} << 40};
    const Row rows[] = {{"larger than it may be", too_large}, {"outside of memory", outside}};
    for (const Row& row : rows) {
        registers_.negotiate(kVersion1);
        registers_.set_queue(0, row.config);
        registers_.start();
        EXPECT_FALSE(device_.activation) << row.what;
        EXPECT_NE(registers_.get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0U) << row.what;
    }
    registers_.negotiate(kVersion1);
    registers_.set_queue(0, queue_.config());
    registers_.start();
    EXPECT_TRUE(device_.activation) << "it does not recover";
}

TEST_F(MmioTransportTest, ADriverThatBreaksItsDeviceAgainAndAgainDoesNotFillTheLog) {
    testing::internal::CaptureStderr();
    QueueConfig outside = queue_.config();
    outside.device_area = GuestAddress{uint64_t{1} << 40};
    for (int times = 0; times < 100; ++times) {
        registers_.negotiate(kVersion1);
        registers_.set_queue(0, outside);
        registers_.start();
    }
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_THAT(log, testing::HasSubstr("recorder stops until its driver resets it: an area is not aligned"));
    EXPECT_LE(std::count(log.begin(), log.end(), '\n'), 10) << log;
}

TEST_F(MmioTransportTest, AHostThatHasNoRoomForADeviceCostsThatDevice) {
    device_.host_is_full = true;
    registers_.negotiate(kVersion1);
    registers_.set_queue(0, queue_.config());
    EXPECT_NO_THROW(registers_.start());
    EXPECT_NE(registers_.get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0U);
    EXPECT_FALSE(device_.activation) << "what it had begun is gone";
    device_.host_is_full = false;
    registers_.set(VIRTIO_MMIO_STATUS, 0);
    registers_.negotiate(kVersion1);
    registers_.set_queue(0, queue_.config());
    registers_.start();
    EXPECT_TRUE(device_.activation);
    // And again where it only was to go on.
    transport_.quiesce();
    device_.host_is_full = true;
    EXPECT_NO_THROW(transport_.resume());
    EXPECT_NE(registers_.get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0U);
    EXPECT_FALSE(device_.activation);
}

TEST_F(MmioTransportTest, AccessesThatFitNothingChangeNothing) {
    for (const uint32_t queue : {2U, 0xffffU, 0xffff'ffffU}) {
        registers_.set_queue(queue, queue_.config());
        EXPECT_EQ(registers_.get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0U);
        EXPECT_EQ(registers_.get(VIRTIO_MMIO_QUEUE_READY), 0U);
        registers_.set(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
    }
    for (uint64_t offset = 0; offset < MmioTransport::kSize; ++offset) {
        for (const size_t size : {1, 2, 4, 8}) {
            std::array<std::byte, 8> data{};
            data.fill(std::byte{0xff});
            const std::span<std::byte> part = std::span{data}.first(size);
            if (offset + size <= MmioTransport::kSize) {
                transport_.read(offset, part);
                if (offset != VIRTIO_MMIO_STATUS) {
                    transport_.write(offset, part);
                }
            }
        }
    }
    EXPECT_FALSE(device_.activation);
}

TEST_F(MmioTransportTest, TheConfigurationSpaceIsTheDevices) {
    registers_.set(VIRTIO_MMIO_CONFIG, 7);
    EXPECT_EQ(device_.configuration[0], std::byte{7});
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_CONFIG), 7U);
    EXPECT_EQ(registers_.get(VIRTIO_MMIO_CONFIG + 0x100), 0U);
}

TEST(Rng, GivesWhatIsAskedForAndStopsAtAReset) {
    const GuestRange ranges[] = {GuestRange::of(0, 0x40000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::DriverQueue queue{memory, kRings, 8};
    test::CountingIrqLine irq;
    Rng rng;
    MmioTransport transport{rng, memory, irq, "rng"};
    test::MmioDriver registers{transport};
    registers.negotiate(kVersion1);
    registers.set_queue(0, queue.config());
    registers.start();
    const test::Buffer buffers[] = {{kData, 100, true}, {kData + 1000, 28, true}};
    queue.add(buffers);
    registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    std::vector<vring_used_elem> used;
    for (int tries = 0; used.empty() && tries < 10'000; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        used = queue.take_used();
    }
    ASSERT_EQ(used.size(), 1U);
    EXPECT_EQ(used[0].len, 128U);
    const auto bytes = memory.slice(GuestRange::of(kData, 100)).value();
    EXPECT_LT(std::ranges::count(bytes, std::byte{0}), 20);

    // A request that a device has nothing to give for, and one that is more than it gives.
    const test::Buffer odd[] = {{kData, 4, false}};
    queue.add(odd);
    const test::Buffer large[] = {{kData, 0x20000, true}};
    queue.add(large, 1);
    registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    used.clear();
    for (int tries = 0; used.size() < 2 && tries < 10'000; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        std::ranges::copy(queue.take_used(), std::back_inserter(used));
    }
    ASSERT_EQ(used.size(), 2U);
    EXPECT_EQ(used[0].len, 0U);
    EXPECT_EQ(used[1].len, Rng::kMostPerRequest);

    registers.set(VIRTIO_MMIO_STATUS, 0);
    queue.add(buffers);
    registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    EXPECT_TRUE(queue.take_used().empty()) << "a device that was reset still served";
}

}  // namespace
}  // namespace hull::virtio
