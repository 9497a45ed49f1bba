// PCI functions that come and go, under a guest that does not care.
#include <gtest/gtest.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "devices/block/block.h"
#include "devices/block/disk_image.h"
#include "devices/block/file_backend.h"
#include "devices/pci/bus.h"
#include "devices/rng/rng.h"
#include "devices/virtio/pci_transport.h"
#include "tests/support/files.h"
#include "tests/support/pci_driver.h"
#include "tests/support/recording_device.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::kVersion1;
using test::RecordingDevice;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kOtherRings = 0x4000;
constexpr uint64_t kData = 0x8000;
constexpr uint64_t kWindow = 0xe010'0000;
constexpr uint32_t kSlot = 3;
constexpr uint32_t kOtherSlot = 4;
constexpr uint64_t kMessageAddress = 0xfee0'1000;

class Hotplug : public testing::Test {
  protected:
    Hotplug() { bus_.plug(kOtherSlot, other_); }

    std::unique_ptr<PciTransport> plugged(VirtioDevice& device, test::CountingMessages& messages) {
        auto made = std::make_unique<PciTransport>(device, memory_, bus_.registers_of(kSlot),
                                                   messages.maker(), "comes and goes");
        bus_.plug(kSlot, *made);
        return made;
    }
    /// Starts the function's queue 0, which calls by vector 1.
    void start(test::PciDriver& driver, const test::DriverQueue& queue) {
        driver.set_msix(PCI_MSIX_FLAGS_ENABLE);
        driver.set_vector(1, kMessageAddress, 0x41, false);
        driver.negotiate(kVersion1);
        driver.set_queue(0, queue.config(), 1);
        driver.start();
    }
    /// The slot's configuration space reads as from an empty bus, and registers as those of a device that was
    /// reset.
    void expect_nothing_there() {
        for (const uint64_t offset : {0U, 4U, 0x10U, 0x34U, 0xfcU, 0xff8U}) {
            EXPECT_EQ(read(bus_.ecam(), kSlot * 8 * pci::PciBus::kConfigSize + offset), ~uint64_t{0})
                << offset;
        }
        for (const uint64_t offset : {0U, 0x14U, 0x1000U, 0x2000U, 0x3000U, 0x4000U, 0x8000U, 0xfff8U}) {
            EXPECT_EQ(read(bus_.window(), kSlot * pci::PciBus::kRegistersSize + offset), 0U) << offset;
        }
    }
    void expect_that_the_other_works() {
        test::PciDriver driver{bus_, kWindow, kOtherSlot};
        start(driver, other_queue_);
        ASSERT_TRUE(other_device_.activation);
        const int before = other_messages_.all[1]->count;
        other_device_.activation->driver.used_buffers(0);
        EXPECT_EQ(other_messages_.all[1]->count, before + 1);
    }
    /// As the bus above does it: all ones to begin with.
    static uint64_t read(BusDevice& device, uint64_t offset) {
        uint64_t value = ~uint64_t{0};
        device.read(offset, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }

    const GuestRange ranges_[1] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    test::DriverQueue queue_{memory_, kRings, 8};
    test::DriverQueue other_queue_{memory_, kOtherRings, 8};
    pci::PciBus bus_{GuestRange::of(kWindow, pci::PciBus::kWindowSize)};
    RecordingDevice other_device_;
    test::CountingMessages other_messages_;
    PciTransport other_{other_device_, memory_, bus_.registers_of(kOtherSlot), other_messages_.maker(),
                        "stays"};
};

TEST_F(Hotplug, AFunctionGoesAndAnotherTakesItsSlot) {
    RecordingDevice device;
    test::CountingMessages messages;
    auto first = plugged(device, messages);
    test::PciDriver driver{bus_, kWindow, kSlot};
    start(driver, queue_);
    ASSERT_TRUE(device.activation);

    bus_.unplug(kSlot);
    expect_nothing_there();
    // What the guest writes there reaches nobody.
    for (const uint64_t offset : {0x14U, 0x2000U, 0x3000U, 0x400cU}) {
        const uint32_t zero = 0;
        bus_.window().write(kSlot * pci::PciBus::kRegistersSize + offset, std::as_bytes(std::span{&zero, 1}));
    }
    EXPECT_TRUE(device.activation);
    EXPECT_EQ(device.resets, 0);
    first.reset();
    EXPECT_FALSE(device.activation) << "the device may touch guest memory still";
    EXPECT_EQ(device.resets, 1);

    Rng rng;
    test::CountingMessages others;
    const auto second = plugged(rng, others);
    test::PciDriver anew{bus_, kWindow, kSlot};
    EXPECT_EQ(anew.config<uint16_t>(PCI_DEVICE_ID), 0x1040 + VIRTIO_ID_RNG);
    EXPECT_EQ(anew.config<uint16_t>(anew.msix + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE, 0)
        << "what the first one's driver had set";
    start(anew, queue_);
    EXPECT_EQ(anew.common<uint8_t>(VIRTIO_PCI_COMMON_STATUS),
              test::kReadyToStart | VIRTIO_CONFIG_S_DRIVER_OK);
    expect_that_the_other_works();
    bus_.unplug(kSlot);
}

TEST_F(Hotplug, TheAddressIsToldAsFixed) {
    RecordingDevice device;
    test::CountingMessages messages;
    const auto function = plugged(device, messages);
    test::PciDriver driver{bus_, kWindow, kSlot};
    uint32_t at = driver.config<uint8_t>(PCI_CAPABILITY_LIST);
    while (at != 0 && driver.config<uint8_t>(at) != PCI_CAP_ID_EA) {
        at = driver.config<uint8_t>(at + PCI_CAP_LIST_NEXT);
    }
    ASSERT_NE(at, 0U);
    EXPECT_EQ(driver.config<uint16_t>(at + PCI_EA_NUM_ENT), 1);
    const auto entry = driver.config<uint32_t>(at + PCI_EA_FIRST_ENT);
    EXPECT_EQ(entry & PCI_EA_ES, 2U) << "two words follow";
    EXPECT_EQ(entry & (PCI_EA_BEI | PCI_EA_PP | PCI_EA_WRITABLE), 0U) << "memory of BAR 0, which stays";
    EXPECT_NE(entry & PCI_EA_ENABLE, 0U);
    EXPECT_EQ(driver.config<uint32_t>(at + PCI_EA_FIRST_ENT + PCI_EA_BASE),
              kWindow + kSlot * pci::PciBus::kRegistersSize);
    EXPECT_EQ(driver.config<uint32_t>(at + PCI_EA_FIRST_ENT + PCI_EA_MAX_OFFSET) | 3U,
              pci::PciBus::kRegistersSize - 1);
    bus_.unplug(kSlot);
}

/// A function in which a reader stays until it is let go.
class Doorway final : public pci::Function {
  public:
    void read_config(uint64_t /*offset*/, std::span<std::byte> /*data*/) override { stay(); }
    void write_config(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override { stay(); }
    void read_registers(uint64_t /*offset*/, std::span<std::byte> /*data*/) override { stay(); }
    void write_registers(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override { stay(); }

    std::promise<void> entered;
    std::promise<void> let_go;
    std::atomic<bool> inside{false};

  private:
    void stay() {
        inside = true;
        entered.set_value();
        let_go.get_future().wait();
        inside = false;
    }
};

TEST_F(Hotplug, WhoIsInsideIsWaitedFor) {
    const uint64_t config = kSlot * 8 * pci::PciBus::kConfigSize;
    const uint64_t registers = kSlot * pci::PciBus::kRegistersSize;
    uint64_t value = 0;
    const auto bytes = std::as_writable_bytes(std::span{&value, 1});
    const std::vector<std::function<void()>> accesses{
        [&] { bus_.ecam().read(config, bytes); },
        [&] { bus_.ecam().write(config, bytes); },
        [&] { bus_.window().read(registers, bytes); },
        [&] { bus_.window().write(registers, bytes); },
        [&] {
            const uint32_t address = 0x8000'0000 | kSlot << 11;
            bus_.ports().write(0, std::as_bytes(std::span{&address, 1}));
            bus_.ports().read(4, bytes.first(4));
        },
    };
    for (const auto& access : accesses) {
        Doorway function;
        bus_.plug(kSlot, function);
        std::thread guest{access};
        function.entered.get_future().wait();
        std::future<bool> gone = std::async(std::launch::async, [&] {
            bus_.unplug(kSlot);
            return !function.inside;
        });
        EXPECT_EQ(gone.wait_for(std::chrono::milliseconds{20}), std::future_status::timeout);
        // Others are not held up meanwhile, neither there nor elsewhere.
        EXPECT_EQ(read(bus_.window(), kOtherSlot * pci::PciBus::kRegistersSize + 0x8000), 0U);
        function.let_go.set_value();
        EXPECT_TRUE(gone.get()) << "it was taken away from under the guest";
        guest.join();
        expect_nothing_there();
    }
}

/// Writes and reads all over the slot, and starts what is there now and then, until it is told to stop.
void hammer(pci::PciBus& bus, const QueueConfig& queue, uint32_t seed, const std::atomic<bool>& stop,
            std::atomic<uint64_t>& rounds) {
    uint32_t random = seed;
    const auto next = [&random] { return random = random * 1664525 + 1013904223; };
    while (!stop) {
        test::PciDriver driver{bus, kWindow, kSlot};
        driver.set_msix(static_cast<uint16_t>(next() >> 16));
        driver.set_vector(1, kMessageAddress, next(), (next() & 0x100) != 0);
        driver.negotiate(kVersion1);
        driver.set_queue(0, queue, 1);
        driver.start();
        for (int count = 0; count < 16; ++count) {
            const uint64_t offset = (next() >> 16) % (pci::PciBus::kRegistersSize - 8);
            uint64_t value = next();
            const auto bytes = std::as_writable_bytes(std::span{&value, 1});
            bus.window().write(kSlot * pci::PciBus::kRegistersSize + 0x3000, bytes.first(2));
            bus.window().write(kSlot * pci::PciBus::kRegistersSize + offset, bytes.first(4));
            bus.window().read(kSlot * pci::PciBus::kRegistersSize + offset, bytes);
            bus.ecam().write(kSlot * 8 * pci::PciBus::kConfigSize + offset % 0xf8, bytes.first(4));
            bus.ecam().read(kSlot * 8 * pci::PciBus::kConfigSize + offset % 0xf8, bytes);
        }
        ++rounds;
    }
}

TEST_F(Hotplug, WhoHammersItNeverReachesWhatIsGone) {
    const test::Buffer buffer[] = {{kData, 64, true}};
    queue_.add(buffer);
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> rounds{0};
    std::vector<std::thread> guests;
    for (uint32_t seed = 1; seed <= 3; ++seed) {
        guests.emplace_back([&, seed] { hammer(bus_, queue_.config(), seed, stop, rounds); });
    }
    for (int round = 0; round < 100; ++round) {
        // On the heap, so that the sanitizers see a use of what is gone.
        auto device = std::make_unique<Rng>();
        auto messages = std::make_unique<test::CountingMessages>();
        auto function = plugged(*device, *messages);
        for (const uint64_t before = rounds; rounds < before + 3;) {
            std::this_thread::yield();
        }
        bus_.unplug(kSlot);
        function.reset();
    }
    stop = true;
    for (std::thread& guest : guests) {
        guest.join();
    }
    expect_nothing_there();
    expect_that_the_other_works();
}

TEST_F(Hotplug, ADiskWithRequestsUnderWayLeavesNothing) {
    const test::TemporaryFolder folder;
    const auto path = folder.file("disk", std::string(1 << 20, '\0'));
    std::optional<size_t> descriptors;
    std::optional<size_t> threads;
    for (int round = 0; round < 20; ++round) {
        test::DriverQueue queue{memory_, kRings, 64};
        ASSERT_TRUE(memory_.discard(GuestRange::of(kRings, 0x2000)));
        {
            const DiskImage image = open_disk_image(path, DiskUse::write, false);
            Block disk{{.size = image.size, .id = "disk"}, make_synchronous_backends(image)};
            test::CountingMessages messages;
            auto function = plugged(disk, messages);
            test::PciDriver driver{bus_, kWindow, kSlot};
            start(driver, queue);
            ASSERT_TRUE(memory_.write(GuestAddress{kData},
                                      virtio_blk_outhdr{.type = VIRTIO_BLK_T_OUT, .ioprio = 0, .sector = 0}));
            for (uint16_t request = 0; request < 20; ++request) {
                const test::Buffer buffers[] = {{kData, sizeof(virtio_blk_outhdr), false},
                                                {kData + 0x1000, 0x8000, false},
                                                {kData + 0x100 + request, 1, true}};
                ASSERT_TRUE(memory_.write(GuestAddress{kData + 0x100 + request}, uint8_t{0xff}));
                queue.add(buffers, static_cast<uint16_t>(3 * request));
            }
            driver.kick(0);
            bus_.unplug(kSlot);
            function.reset();
            // Each was done and answered, or neither.
            const size_t answered = queue.take_used().size();
            for (uint16_t request = 0; request < 20; ++request) {
                EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{kData + 0x100 + request}),
                          request < answered ? VIRTIO_BLK_S_OK : 0xff);
            }
        }
        EXPECT_NO_THROW(open_disk_image(path, DiskUse::write, false)) << "the image is locked still";
        EXPECT_EQ(test::entries_of("/proc/self/fd"), descriptors.value_or(test::entries_of("/proc/self/fd")));
        const size_t most = threads.value_or(SIZE_MAX);
        EXPECT_LE(test::threads_down_to(most), most);
        descriptors = test::entries_of("/proc/self/fd");
        threads = test::entries_of("/proc/self/task");
        expect_that_the_other_works();
    }
}

}  // namespace
}  // namespace hull::virtio
