// A guest's driver at the registers of virtio-mmio (VIRTIO 1.2, 4.2.2 and 3.1.1).
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <cstdint>
#include <span>

#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/queue.h"

namespace hull::test {

constexpr uint64_t kVersion1 = uint64_t{1} << VIRTIO_F_VERSION_1;
inline constexpr uint8_t kReadyToStart =
    VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;

/// A driver's accesses to the registers.
class MmioDriver {
  public:
    explicit MmioDriver(virtio::MmioTransport& transport) : transport_{transport} {}

    uint32_t get(uint64_t offset) {
        uint32_t value = 0xffff'ffff;
        transport_.read(offset, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    void set(uint64_t offset, uint32_t value) {
        transport_.write(offset, std::as_bytes(std::span{&value, 1}));
    }
    /// Up to FEATURES_OK, as Linux does it.
    void negotiate(uint64_t features) {
        set(VIRTIO_MMIO_STATUS, 0);
        set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
        set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
        for (const uint32_t half : {1U, 0U}) {
            set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
            set(VIRTIO_MMIO_DRIVER_FEATURES, static_cast<uint32_t>(features >> (32 * half)));
        }
        set(VIRTIO_MMIO_STATUS, kReadyToStart);
    }
    void set_queue(uint32_t index, const virtio::QueueConfig& config) {
        set(VIRTIO_MMIO_QUEUE_SEL, index);
        set(VIRTIO_MMIO_QUEUE_NUM, config.size);
        const auto put = [&](uint64_t low, uint64_t high, GuestAddress address) {
            set(low, static_cast<uint32_t>(raw(address)));
            set(high, static_cast<uint32_t>(raw(address) >> 32));
        };
        put(VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, config.descriptor_area);
        put(VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, config.driver_area);
        put(VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_MMIO_QUEUE_USED_HIGH, config.device_area);
        set(VIRTIO_MMIO_QUEUE_READY, 1);
    }
    void reset_queue(uint32_t index, uint32_t value = 1) {
        set(VIRTIO_MMIO_QUEUE_SEL, index);
        set(kQueueReset, value);
    }
    void start() { set(VIRTIO_MMIO_STATUS, kReadyToStart | VIRTIO_CONFIG_S_DRIVER_OK); }

    static constexpr uint64_t kQueueReset = 0xc0;  ///< Linux has no name for it

  private:
    virtio::MmioTransport& transport_;
};

}  // namespace hull::test
