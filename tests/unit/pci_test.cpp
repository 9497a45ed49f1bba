// The PCI bus and virtio devices on it, driven as a guest does.
#include <gtest/gtest.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <poll.h>

#include <array>
#include <cstring>

#include "devices/pci/bus.h"
#include "devices/pci/config_space.h"
#include "devices/pci/msix.h"
#include "devices/virtio/pci_transport.h"
#include "tests/support/pci_driver.h"
#include "tests/support/recording_device.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::kReadyToStart;
using test::kVersion1;
using test::RecordingDevice;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kWindow = 0xe010'0000;
constexpr uint32_t kSlot = 5;
constexpr uint64_t kMessageAddress = 0xfee0'1000;

class PciTransportTest : public testing::Test {
  protected:
    PciTransportTest() { bus_.plug(kSlot, transport_); }

    /// A driver that has bound vectors 0, 1 and 2 to the configuration and the two queues.
    test::PciDriver running_driver() {
        test::PciDriver driver{bus_, kWindow, kSlot};
        driver.set_msix(PCI_MSIX_FLAGS_ENABLE);
        for (uint32_t vector = 0; vector < 3; ++vector) {
            driver.set_vector(vector, kMessageAddress, 0x40 + vector, false);
        }
        driver.negotiate(kVersion1);
        driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_MSIX, 0);
        driver.set_queue(0, queue_.config(), 1);
        driver.set_queue(1, queue_.config(), 2);
        driver.start();
        return driver;
    }

    const GuestRange ranges_[1] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    test::DriverQueue queue_{memory_, kRings, 8};
    RecordingDevice device_;
    test::CountingMessages messages_;
    pci::PciBus bus_{GuestRange::of(kWindow, pci::PciBus::kWindowSize)};
    PciTransport transport_{device_, memory_, bus_.registers_of(kSlot), messages_.maker(), "recorder"};
};

TEST_F(PciTransportTest, IsFoundNegotiatedAndStarted) {
    test::PciDriver driver{bus_, kWindow, kSlot};
    EXPECT_EQ(driver.config<uint16_t>(PCI_VENDOR_ID), 0x1af4);
    EXPECT_EQ(driver.config<uint16_t>(PCI_DEVICE_ID), 0x1040 + VIRTIO_ID_CONSOLE);
    EXPECT_EQ(driver.config<uint8_t>(PCI_REVISION_ID), 1);
    EXPECT_EQ(driver.config<uint8_t>(PCI_INTERRUPT_PIN), 0);
    ASSERT_NE(driver.msix, 0U);
    EXPECT_EQ(driver.config<uint16_t>(driver.msix + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE, 2)
        << "a vector for each queue and one more";
    for (const uint32_t type : {VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_CAP_ISR_CFG,
                                VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_PCI_CFG}) {
        EXPECT_NE(driver.places[type], 0U) << type;
    }
    driver.negotiate(kVersion1 | 1U << 3);
    EXPECT_EQ(driver.common<uint8_t>(VIRTIO_PCI_COMMON_STATUS), kReadyToStart);
    EXPECT_EQ(driver.common<uint32_t>(VIRTIO_PCI_COMMON_GF), kVersion1 >> 32);
    driver.set_common<uint32_t>(VIRTIO_PCI_COMMON_DFSELECT, 0);
    EXPECT_EQ(driver.common<uint32_t>(VIRTIO_PCI_COMMON_DF), 1U << 3 | 3U << VIRTIO_RING_F_INDIRECT_DESC);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_NUMQ), 2);
    driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, 1);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_SIZE), 16) << "the most, until it is written";
    driver.set_queue(1, queue_.config(), 1);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_SIZE), 8);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_MSIX), 1);
    EXPECT_EQ(driver.common<uint32_t>(VIRTIO_PCI_COMMON_Q_AVAILLO), raw(queue_.config().driver_area));
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_ENABLE), 1);
    driver.start();
    ASSERT_TRUE(device_.activation);
    EXPECT_EQ(device_.activation->features, kVersion1 | 1U << 3);
    ASSERT_EQ(device_.activation->queues.size(), 1U) << "the other one was left out";
    EXPECT_EQ(device_.activation->queues[0].index, 1);
    EXPECT_EQ(device_.activation->queues[0].queue.size(), 8);

    pollfd kick{device_.activation->queues[0].kick_fd, POLLIN, 0};
    driver.kick(0);
    EXPECT_EQ(poll(&kick, 1, 0), 0);
    driver.kick(1);
    EXPECT_EQ(poll(&kick, 1, 0), 1);
    EXPECT_EQ(kick.fd, transport_.kick_fd(1));

    driver.set_common<uint8_t>(VIRTIO_PCI_COMMON_STATUS, 0);
    EXPECT_EQ(device_.resets, 1);
    EXPECT_EQ(driver.common<uint8_t>(VIRTIO_PCI_COMMON_STATUS), 0);
    driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, 1);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_ENABLE), 0);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_MSIX), 0xffff);
}

TEST_F(PciTransportTest, AQueueWhoseSizeIsNotWrittenHasTheMost) {
    test::PciDriver driver{bus_, kWindow, kSlot};
    driver.negotiate(kVersion1);
    QueueConfig config = test::DriverQueue{memory_, kRings, 16}.config();
    config.size = 0;
    driver.set_queue(1, config, 0xffff);
    driver.start();
    ASSERT_TRUE(device_.activation);
    EXPECT_EQ(device_.activation->queues.at(0).queue.size(), 16);
}

TEST_F(PciTransportTest, EveryQueueHasAnInterruptOfItsOwn) {
    test::PciDriver driver = running_driver();
    ASSERT_TRUE(device_.activation);
    device_.activation->driver.used_buffers(1);
    EXPECT_EQ(messages_.all[2]->count, 1);
    EXPECT_EQ(messages_.all[2]->address, kMessageAddress);
    EXPECT_EQ(messages_.all[2]->data, 0x42U);
    device_.activation->driver.used_buffers(0);
    device_.activation->driver.used_buffers(0);
    EXPECT_EQ(messages_.all[1]->count, 2);
    EXPECT_EQ(messages_.all[1]->routes, 1);
    const auto generation = driver.common<uint8_t>(VIRTIO_PCI_COMMON_CFGGENERATION);
    device_.activation->driver.configuration_changed();
    EXPECT_EQ(messages_.all[0]->count, 1);
    EXPECT_NE(driver.common<uint8_t>(VIRTIO_PCI_COMMON_CFGGENERATION), generation);
    EXPECT_EQ(driver.get<uint8_t>(driver.structures[VIRTIO_PCI_CAP_ISR_CFG]), 3);
    EXPECT_EQ(driver.get<uint8_t>(driver.structures[VIRTIO_PCI_CAP_ISR_CFG]), 0) << "a read clears it";

    driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_MSIX, 0xffff);
    device_.activation->driver.configuration_changed();
    EXPECT_EQ(messages_.all[0]->count, 1) << "it has no vector any more";
    driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_MSIX, 3);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_MSIX), 0xffff) << "there are three vectors";
}

TEST_F(PciTransportTest, WhatIsMaskedWaits) {
    test::PciDriver driver = running_driver();
    const auto pending = [&] {
        return driver.get<uint32_t>(driver.config<uint32_t>(driver.msix + PCI_MSIX_PBA) &
                                    PCI_MSIX_PBA_OFFSET);
    };
    driver.set_vector(1, kMessageAddress, 0x50, true);
    device_.activation->driver.used_buffers(0);
    device_.activation->driver.used_buffers(0);
    EXPECT_EQ(messages_.all[1]->count, 0);
    EXPECT_EQ(pending(), 2U);
    driver.set_vector(1, kMessageAddress, 0x51, false);
    EXPECT_EQ(messages_.all[1]->count, 1);
    EXPECT_EQ(messages_.all[1]->data, 0x51U) << "what was written meanwhile counts";
    EXPECT_EQ(pending(), 0U);

    driver.set_msix(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    device_.activation->driver.used_buffers(1);
    EXPECT_EQ(messages_.all[2]->count, 0);
    EXPECT_EQ(pending(), 4U);
    driver.set_msix(PCI_MSIX_FLAGS_ENABLE);
    EXPECT_EQ(messages_.all[2]->count, 1);

    driver.set_msix(0);
    device_.activation->driver.used_buffers(1);
    EXPECT_EQ(messages_.all[2]->count, 1);
    EXPECT_EQ(pending(), 0U) << "without MSI-X there is nobody to tell";
}

TEST_F(PciTransportTest, TheRegistersAreReachedThroughTheConfigurationSpaceToo) {
    test::PciDriver driver{bus_, kWindow, kSlot};
    const uint32_t at = driver.places[VIRTIO_PCI_CAP_PCI_CFG];
    const uint32_t data = at + offsetof(virtio_pci_cfg_cap, pci_cfg_data);
    driver.set_config<uint32_t>(at + VIRTIO_PCI_CAP_LENGTH, 2);
    driver.set_config<uint32_t>(at + VIRTIO_PCI_CAP_OFFSET, VIRTIO_PCI_COMMON_NUMQ);
    EXPECT_EQ(driver.config<uint16_t>(data), 2);
    driver.set_config<uint32_t>(at + VIRTIO_PCI_CAP_OFFSET, VIRTIO_PCI_COMMON_Q_SELECT);
    driver.set_config<uint16_t>(data, 1);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT), 1);
    for (const uint32_t hostile : {1U, uint32_t{pci::PciBus::kRegistersSize}, 0xffff'fffeU}) {
        driver.set_config<uint32_t>(at + VIRTIO_PCI_CAP_OFFSET, hostile);
        driver.set_config<uint16_t>(data, 7);
        EXPECT_EQ(driver.config<uint16_t>(data), 7) << "what is kept, and no register";
    }
    driver.set_config<uint32_t>(at + VIRTIO_PCI_CAP_OFFSET, VIRTIO_PCI_COMMON_Q_SELECT);
    driver.set_config<uint8_t>(at + VIRTIO_PCI_CAP_BAR, 1);
    driver.set_config<uint16_t>(data, 0);
    EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT), 1)
        << "there is no other base address register";
}

TEST_F(PciTransportTest, ABadQueueIsTheDevicesEndUntilAReset) {
    QueueConfig too_large = queue_.config();
    too_large.size = 16;
    QueueConfig outside = queue_.config();
    outside.device_area = GuestAddress{uint64_t{1} << 40};
    for (const QueueConfig& config : {too_large, outside}) {
        test::PciDriver driver{bus_, kWindow, kSlot};
        driver.negotiate(kVersion1);
        driver.set_queue(0, config, 0);
        driver.start();
        EXPECT_FALSE(device_.activation);
        EXPECT_NE(driver.common<uint8_t>(VIRTIO_PCI_COMMON_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    }
    running_driver();
    EXPECT_TRUE(device_.activation) << "it does not recover";
}

TEST_F(PciTransportTest, AccessesThatFitNothingChangeNothing) {
    test::PciDriver driver = running_driver();
    for (const uint16_t queue : {uint16_t{2}, uint16_t{0x8000}, uint16_t{0xffff}}) {
        driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, queue);
        EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_SIZE), 0);
        EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_MSIX), 0xffff);
        driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_MSIX, 0);
        driver.set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_ENABLE, 1);
        EXPECT_EQ(driver.common<uint16_t>(VIRTIO_PCI_COMMON_Q_ENABLE), 0);
        driver.kick(queue);
    }
    // Every offset in every width, the status register apart.
    for (uint64_t offset = 0; offset < pci::PciBus::kRegistersSize; ++offset) {
        for (const size_t size : {1, 2, 4, 8}) {
            std::array<std::byte, 8> data{};
            data.fill(std::byte{0xff});
            const std::span<std::byte> part = std::span{data}.first(size);
            if (offset + size <= pci::PciBus::kRegistersSize) {
                transport_.read_registers(offset, part);
                if (offset != VIRTIO_PCI_COMMON_STATUS) {
                    transport_.write_registers(offset, part);
                }
            }
        }
    }
    EXPECT_TRUE(device_.activation);
    EXPECT_EQ(device_.resets, 0);
    running_driver();
    device_.activation->driver.used_buffers(0);
    EXPECT_EQ(messages_.all[1]->data, 0x41U);
}

TEST(ConfigSpace, TellsItsSizeAndStaysWhereItIs) {
    pci::ConfigSpace config{{.vendor = 1,
                             .device = 2,
                             .revision = 3,
                             .class_code = 0x40506,
                             .subsystem_vendor = 7,
                             .subsystem = 8}};
    config.set_memory_bar(0xe000'0000, 0x1'0000);
    const auto write = [&](size_t offset, auto value) {
        config.write(offset, std::as_bytes(std::span{&value, 1}));
    };
    EXPECT_EQ(config.get<uint32_t>(PCI_CLASS_REVISION), 0x0405'0603U);
    write(PCI_BASE_ADDRESS_0, uint32_t{0xffff'ffff});
    EXPECT_EQ(config.get<uint32_t>(PCI_BASE_ADDRESS_0), 0xffff'0000U);
    write(PCI_BASE_ADDRESS_0, uint32_t{0xd000'0000});
    EXPECT_EQ(config.get<uint32_t>(PCI_BASE_ADDRESS_0), 0xe000'0000U);
    for (size_t other = PCI_BASE_ADDRESS_1; other <= PCI_BASE_ADDRESS_5; other += 4) {
        write(other, uint32_t{0xffff'ffff});
        EXPECT_EQ(config.get<uint32_t>(other), 0U);
    }
    write(PCI_VENDOR_ID, uint32_t{0});
    EXPECT_EQ(config.get<uint32_t>(PCI_VENDOR_ID), 0x0002'0001U);
    write(PCI_COMMAND, uint16_t{0xffff});
    EXPECT_EQ(config.get<uint16_t>(PCI_COMMAND),
              PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    EXPECT_EQ(config.get<uint16_t>(PCI_STATUS), 0) << "no capabilities";
    // Across the end, and beyond it.
    write(pci::ConfigSpace::kSize - 2, uint64_t{0xffff'ffff'ffff'ffff});
    uint64_t read = 1;
    config.read(pci::ConfigSpace::kSize - 2, std::as_writable_bytes(std::span{&read, 1}));
    EXPECT_EQ(read, 0U);
    EXPECT_THROW(config.add_capability(9, std::array<std::byte, 0xc0>{}), std::logic_error);
}

TEST_F(PciTransportTest, EmptySlotsFurtherFunctionsAndStraddlingAccessesReadAsNothing) {
    // As the bus above it does, every access begins with all ones.
    const auto read = [&](BusDevice& device, uint64_t offset, size_t size) {
        std::array<std::byte, 8> data{};
        data.fill(std::byte{0xff});
        device.read(offset, std::span{data}.first(size));
        uint64_t value = 0;
        std::memcpy(&value, data.data(), sizeof value);
        return value;
    };
    constexpr uint64_t kSlotSize = 8 * pci::PciBus::kConfigSize;
    EXPECT_EQ(read(bus_.ecam(), 0, 4) & 0xffff'ffff, 0x0008'1b36U) << "the bridge";
    EXPECT_EQ(read(bus_.ecam(), PCI_CLASS_REVISION, 4) & 0xffff'ffff, 0x0600'0000U);
    EXPECT_EQ(read(bus_.ecam(), kSlot * kSlotSize, 2) & 0xffff, 0x1af4U);
    for (const uint64_t nothing : {kSlotSize, kSlot * kSlotSize + pci::PciBus::kConfigSize,
                                   (kSlot + 1) * kSlotSize, pci::PciBus::kEcamSize - 4}) {
        EXPECT_EQ(read(bus_.ecam(), nothing, 4) & 0xffff'ffff, 0xffff'ffffU) << nothing;
        const uint32_t value = 0;
        bus_.ecam().write(nothing, std::as_bytes(std::span{&value, 1}));
    }
    EXPECT_EQ(read(bus_.ecam(), kSlot * kSlotSize + 0x100, 4) & 0xffff'ffff, 0U) << "no further capabilities";
    EXPECT_EQ(read(bus_.ecam(), kSlot * kSlotSize + pci::PciBus::kConfigSize - 4, 8), ~uint64_t{0});
    EXPECT_EQ(read(bus_.window(), (kSlot + 1) * pci::PciBus::kRegistersSize - 4, 8), 0U);
    EXPECT_EQ(read(bus_.window(), 0, 4) & 0xffff'ffff, 0U);

    // The same by ports.
    const auto set_address = [&](uint32_t address) {
        bus_.ports().write(0, std::as_bytes(std::span{&address, 1}));
    };
    set_address(0x8000'0000 | kSlot << 11 | PCI_DEVICE_ID);
    EXPECT_EQ(read(bus_.ports(), 0, 4) & 0xffff'ffff, 0x8000'0000U | kSlot << 11 | PCI_DEVICE_ID);
    set_address(0x8000'0000 | kSlot << 11);
    EXPECT_EQ(read(bus_.ports(), 4, 2) & 0xffff, 0x1af4U);
    EXPECT_EQ(read(bus_.ports(), 6, 2) & 0xffff, 0x1040U + VIRTIO_ID_CONSOLE);
    EXPECT_EQ(read(bus_.ports(), 4, 4) & 0xffff'ffff, (0x1040U + VIRTIO_ID_CONSOLE) << 16 | 0x1af4U);
    for (const uint32_t nothing :
         {kSlot << 11, 0x8001'0000U | kSlot << 11, 0x8000'0100U | kSlot << 11, 0xffff'ffffU}) {
        set_address(nothing);
        EXPECT_EQ(read(bus_.ports(), 4, 4) & 0xffff'ffff, 0xffff'ffffU) << nothing;
        const uint32_t value = 0;
        bus_.ports().write(4, std::as_bytes(std::span{&value, 1}));
    }
}

}  // namespace
}  // namespace hull::virtio
