// A device with its transport and its driver, whatever the transport is.
#pragma once

#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <optional>
#include <vector>

#include "devices/pci/bus.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/pci_transport.h"
#include "tests/support/fake_devices.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/pci_driver.h"
#include "tests/support/recording_device.h"
#include "tests/support/virtio_driver.h"

namespace hull::test {

constexpr uint64_t kReset = uint64_t{1} << VIRTIO_F_RING_RESET;

/// What a driver does, whatever carries it.
class Side {
  public:
    virtual ~Side() = default;
    virtual void negotiate(uint64_t features) = 0;
    virtual void set_queue(uint16_t index, const virtio::QueueConfig& config) = 0;
    virtual void start() = 0;
    virtual void reset_queue(uint16_t index, uint16_t value) = 0;
    virtual bool is_enabled(uint16_t index) = 0;
    /// Of what the driver can read of a queue, that it is as after a reset of the device.
    virtual bool is_forgotten(uint16_t index) = 0;
    virtual bool is_resetting(uint16_t index) = 0;
    virtual void kick(uint16_t index) = 0;
    virtual uint8_t status() = 0;
    virtual int interrupts(uint16_t queue) = 0;
    /// What is saved and loaded.
    virtual Stateful& state() = 0;
};

class MmioSide final : public Side {
  public:
    MmioSide(virtio::VirtioDevice& device, GuestMemory& memory)
        : transport_{device, memory, irq_, "recorder"} {}
    void negotiate(uint64_t features) override { driver_.negotiate(features); }
    void set_queue(uint16_t index, const virtio::QueueConfig& config) override {
        driver_.set_queue(index, config);
    }
    void start() override { driver_.start(); }
    void reset_queue(uint16_t index, uint16_t value) override { driver_.reset_queue(index, value); }
    bool is_enabled(uint16_t index) override {
        driver_.set(VIRTIO_MMIO_QUEUE_SEL, index);
        return driver_.get(VIRTIO_MMIO_QUEUE_READY) != 0;
    }
    bool is_forgotten(uint16_t index) override { return !is_enabled(index); }
    bool is_resetting(uint16_t index) override {
        driver_.set(VIRTIO_MMIO_QUEUE_SEL, index);
        return driver_.get(MmioDriver::kQueueReset) != 0;
    }
    void kick(uint16_t index) override { driver_.set(VIRTIO_MMIO_QUEUE_NOTIFY, index); }
    uint8_t status() override { return static_cast<uint8_t>(driver_.get(VIRTIO_MMIO_STATUS)); }
    int interrupts(uint16_t /*queue*/) override { return irq_.count(); }
    Stateful& state() override { return transport_; }

  private:
    CountingIrqLine irq_;
    virtio::MmioTransport transport_;
    MmioDriver driver_{transport_};
};

class PciSide final : public Side {
  public:
    PciSide(virtio::VirtioDevice& device, GuestMemory& memory)
        : transport_{device, memory, bus_.registers_of(1), messages_.maker(), "recorder"} {
        bus_.plug(1, transport_);
        driver_.emplace(bus_, kWindow, 1);
        driver_->set_msix(PCI_MSIX_FLAGS_ENABLE);
        for (const uint32_t vector : {1U, 2U}) {
            driver_->set_vector(vector, 0xfee0'0000, vector, false);
        }
    }
    void negotiate(uint64_t features) override { driver_->negotiate(features); }
    void set_queue(uint16_t index, const virtio::QueueConfig& config) override {
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
    Stateful& state() override { return bus_; }
    PciDriver& driver() { return *driver_; }
    const CountingMessage& message(uint16_t vector) { return *messages_.all.at(vector); }

  private:
    static constexpr uint64_t kWindow = 0xe010'0000;
    uint16_t get(uint16_t index, uint64_t offset) {
        driver_->set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, index);
        return driver_->common<uint16_t>(offset);
    }
    CountingMessages messages_;
    pci::PciBus bus_{GuestRange::of(kWindow, pci::PciBus::kWindowSize)};
    virtio::PciTransport transport_;
    std::optional<PciDriver> driver_;
};

/// A device of two queues and its driver.
template <typename Transport>
struct TwoQueueGuest {
    TwoQueueGuest() { device.offered |= kReset; }
    void start(uint64_t features = kVersion1 | kReset) {
        side.negotiate(features);
        side.set_queue(0, first.config());
        side.set_queue(1, second.config());
        side.start();
    }
    /// The device's side of a queue; null where it has none.
    virtio::VirtQueue* queue(uint16_t index) {
        if (device.activation) {
            for (virtio::ActiveQueue& active : device.activation->queues) {
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
    bool serves(DriverQueue& driver) {
        driver.add(buffers, 0);
        auto chain = queue(0) == nullptr ? std::nullopt : queue(0)->pop().value();
        if (!chain) {
            return false;
        }
        queue(0)->push(std::move(*chain), 1);
        return driver.take_used().size() == 1;
    }

    static constexpr uint64_t kData = 0x8000;
    const Buffer buffers[1] = {{kData, 16, true}};
    const GuestRange ranges[1] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    DriverQueue first{memory, 0x1000, 8};
    DriverQueue second{memory, 0x2000, 16};
    DriverQueue again{memory, 0x3000, 4};
    RecordingDevice device;
    Transport side{device, memory};
};

}  // namespace hull::test
