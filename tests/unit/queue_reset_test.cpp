// Queues that are reset while their device runs (VIRTIO 1.2, 2.6.1), on each transport.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <functional>

#include "devices/pci/bus.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/pci_transport.h"
#include "tests/support/fake_devices.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/pci_driver.h"
#include "tests/support/recording_device.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::Buffer;
using test::kVersion1;

constexpr uint64_t kReset = uint64_t{1} << VIRTIO_F_RING_RESET;
constexpr uint64_t kData = 0x8000;

/// What a driver does, whatever carries it.
class Side {
  public:
    virtual ~Side() = default;
    virtual void negotiate(uint64_t features) = 0;
    virtual void set_queue(uint16_t index, const QueueConfig& config) = 0;
    virtual void start() = 0;
    virtual void reset_queue(uint16_t index, uint16_t value) = 0;
    virtual bool is_enabled(uint16_t index) = 0;
    /// Of what the driver can read of a queue, that it is as after a reset of the device.
    virtual bool is_forgotten(uint16_t index) = 0;
    virtual bool is_resetting(uint16_t index) = 0;
    virtual void kick(uint16_t index) = 0;
    virtual uint8_t status() = 0;
    virtual int interrupts(uint16_t queue) = 0;
};

class MmioSide final : public Side {
  public:
    MmioSide(VirtioDevice& device, GuestMemory& memory) : transport_{device, memory, irq_, "recorder"} {}
    void negotiate(uint64_t features) override { driver_.negotiate(features); }
    void set_queue(uint16_t index, const QueueConfig& config) override { driver_.set_queue(index, config); }
    void start() override { driver_.start(); }
    void reset_queue(uint16_t index, uint16_t value) override { driver_.reset_queue(index, value); }
    bool is_enabled(uint16_t index) override {
        driver_.set(VIRTIO_MMIO_QUEUE_SEL, index);
        return driver_.get(VIRTIO_MMIO_QUEUE_READY) != 0;
    }
    bool is_forgotten(uint16_t index) override { return !is_enabled(index); }
    bool is_resetting(uint16_t index) override {
        driver_.set(VIRTIO_MMIO_QUEUE_SEL, index);
        return driver_.get(test::MmioDriver::kQueueReset) != 0;
    }
    void kick(uint16_t index) override { driver_.set(VIRTIO_MMIO_QUEUE_NOTIFY, index); }
    uint8_t status() override { return static_cast<uint8_t>(driver_.get(VIRTIO_MMIO_STATUS)); }
    int interrupts(uint16_t /*queue*/) override { return irq_.count(); }

  private:
    test::CountingIrqLine irq_;
    MmioTransport transport_;
    test::MmioDriver driver_{transport_};
};

class PciSide final : public Side {
  public:
    PciSide(VirtioDevice& device, GuestMemory& memory)
        : transport_{device, memory, bus_.registers_of(1), messages_.maker(), "recorder"} {
        bus_.plug(1, transport_);
        driver_.emplace(bus_, kWindow, 1);
        driver_->set_msix(PCI_MSIX_FLAGS_ENABLE);
        for (const uint32_t vector : {1U, 2U}) {
            driver_->set_vector(vector, 0xfee0'0000, vector, false);
        }
    }
    void negotiate(uint64_t features) override { driver_->negotiate(features); }
    void set_queue(uint16_t index, const QueueConfig& config) override {
        driver_->set_queue(index, config, static_cast<uint16_t>(index + 1));
    }
    void start() override { driver_->start(); }
    void reset_queue(uint16_t index, uint16_t value) override { driver_->reset_queue(index, value); }
    bool is_enabled(uint16_t index) override { return get(index, VIRTIO_PCI_COMMON_Q_ENABLE) != 0; }
    bool is_forgotten(uint16_t index) override {
        return !is_enabled(index) && get(index, VIRTIO_PCI_COMMON_Q_SIZE) == (index == 0 ? 8 : 16) &&
               get(index, VIRTIO_PCI_COMMON_Q_MSIX) == 0xffff &&
               driver_->common<uint32_t>(VIRTIO_PCI_COMMON_Q_DESCLO) == 0;
    }
    bool is_resetting(uint16_t index) override { return get(index, VIRTIO_PCI_COMMON_Q_RESET) != 0; }
    void kick(uint16_t index) override { driver_->kick(index); }
    uint8_t status() override { return driver_->common<uint8_t>(VIRTIO_PCI_COMMON_STATUS); }
    int interrupts(uint16_t queue) override { return messages_.all.at(queue + size_t{1})->count; }

  private:
    static constexpr uint64_t kWindow = 0xe010'0000;
    uint16_t get(uint16_t index, uint64_t offset) {
        driver_->set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, index);
        return driver_->common<uint16_t>(offset);
    }
    test::CountingMessages messages_;
    pci::PciBus bus_{GuestRange::of(kWindow, pci::PciBus::kWindowSize)};
    PciTransport transport_;
    std::optional<test::PciDriver> driver_;
};

/// A device of two queues and its driver.
template <typename Transport>
struct Guest {
    Guest() { device.offered |= kReset; }
    void start(uint64_t features = kVersion1 | kReset) {
        side.negotiate(features);
        side.set_queue(0, first.config());
        side.set_queue(1, second.config());
        side.start();
    }
    /// The device's side of a queue; null where it has none.
    VirtQueue* queue(uint16_t index) {
        if (device.activation) {
            for (ActiveQueue& active : device.activation->queues) {
                if (active.index == index) {
                    return &active.queue;
                }
            }
        }
        return nullptr;
    }
    [[nodiscard]] size_t queues() const { return device.activation ? device.activation->queues.size() : 0; }
    /// Has the device serve one request of the first queue.
    bool serves() { return serves(first); }
    bool serves(test::DriverQueue& driver) {
        driver.add(buffers, 0);
        auto chain = queue(0) == nullptr ? std::nullopt : queue(0)->pop().value();
        if (!chain) {
            return false;
        }
        queue(0)->push(std::move(*chain), 1);
        return driver.take_used().size() == 1;
    }

    const Buffer buffers[1] = {{kData, 16, true}};
    const GuestRange ranges[1] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::DriverQueue first{memory, 0x1000, 8};
    test::DriverQueue second{memory, 0x2000, 16};
    test::DriverQueue again{memory, 0x3000, 4};
    test::RecordingDevice device;
    Transport side{device, memory};
};

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
