#include "devices/virtio/mmio_transport.h"

#include <linux/virtio_mmio.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace hull::virtio {

namespace {

constexpr uint32_t kMagic = 0x74726976;   // "virt"
constexpr uint32_t kVersion = 2;          // 1 is what came before the standard
constexpr uint32_t kVendor = 0x6c6c7548;  // "Hull"
constexpr uint64_t kQueueReset = 0xc0;    // 4.2.2: QueueReset, which Linux has no name for

}  // namespace

MmioTransport::MmioTransport(VirtioDevice& device, GuestMemory& memory, IrqLine& irq, std::string name)
    : irq_{irq},
      control_{device, memory,
               [this](uint32_t vector) {
                   interrupt_status_ |= vector == DeviceControl::kConfigurationVector ? VIRTIO_MMIO_INT_CONFIG
                                                                                      : VIRTIO_MMIO_INT_VRING;
                   irq_.trigger();
               },
               std::move(name)} {}

uint32_t MmioTransport::queue_count() const {
    return static_cast<uint32_t>(control_.device().queue_sizes().size());
}

// 4.2.2: registers are 32 bits wide and so accessed, but for the configuration space, which takes any width.

void MmioTransport::read(uint64_t offset, std::span<std::byte> data) {
    const std::lock_guard lock{mutex_};
    if (offset >= VIRTIO_MMIO_CONFIG) {
        std::ranges::fill(data, std::byte{0});
        control_.device().read_configuration(offset - VIRTIO_MMIO_CONFIG, data);
    } else if (data.size() == sizeof(uint32_t) && offset % sizeof(uint32_t) == 0) {
        const uint32_t value = read_register(offset);
        std::memcpy(data.data(), &value, sizeof value);
    }
}

void MmioTransport::write(uint64_t offset, std::span<const std::byte> data) {
    const std::lock_guard lock{mutex_};
    if (offset >= VIRTIO_MMIO_CONFIG) {
        control_.device().write_configuration(offset - VIRTIO_MMIO_CONFIG, data);
    } else if (data.size() == sizeof(uint32_t) && offset % sizeof(uint32_t) == 0) {
        uint32_t value = 0;
        std::memcpy(&value, data.data(), sizeof value);
        write_register(offset, value);
    }
}

uint32_t MmioTransport::read_register(uint64_t offset) const {
    switch (offset) {
        case VIRTIO_MMIO_MAGIC_VALUE:
            return kMagic;
        case VIRTIO_MMIO_VERSION:
            return kVersion;
        case VIRTIO_MMIO_DEVICE_ID:
            return control_.device().type();
        case VIRTIO_MMIO_VENDOR_ID:
            return kVendor;
        case VIRTIO_MMIO_DEVICE_FEATURES:
            return control_.offered_features(offered_half_);
        case VIRTIO_MMIO_QUEUE_NUM_MAX:
            return control_.queue_size_limit(queue_);
        case VIRTIO_MMIO_QUEUE_READY:
            return control_.queue_is_enabled(queue_) ? 1 : 0;
        case VIRTIO_MMIO_INTERRUPT_STATUS:
            return interrupt_status_;
        case VIRTIO_MMIO_STATUS:
            return control_.status();
        case VIRTIO_MMIO_CONFIG_GENERATION:
            return control_.configuration_generation();
        case VIRTIO_MMIO_SHM_LEN_LOW:
        case VIRTIO_MMIO_SHM_LEN_HIGH:
            return 0xffff'ffff;  // 4.2.2: no shared memory region has this id
        default:
            return 0;
    }
}

void MmioTransport::write_register(uint64_t offset, uint32_t value) {
    switch (offset) {
        case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
            offered_half_ = value;
            break;
        case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
            accepted_half_ = value;
            break;
        case VIRTIO_MMIO_DRIVER_FEATURES:
            control_.accept_features(accepted_half_, value);
            break;
        case VIRTIO_MMIO_QUEUE_SEL:
            queue_ = value;
            break;
        case VIRTIO_MMIO_QUEUE_NUM:
            // A size that does not fit becomes one that is refused when the device starts.
            control_.configure_queue(queue_, [&](QueueConfig& config) {
                config.size = value <= 0xffff ? static_cast<uint16_t>(value) : uint16_t{0};
            });
            break;
        case VIRTIO_MMIO_QUEUE_READY:
            if (value == 1) {
                control_.enable_queue(queue_);
            }
            break;
        case kQueueReset:
            if (value == 1) {
                control_.reset_queue(queue_);
            }
            break;
        case VIRTIO_MMIO_QUEUE_NOTIFY:
            if (const int fd = control_.kick_fd(value); fd >= 0) {
                signal_eventfd(fd);
            }
            break;
        case VIRTIO_MMIO_INTERRUPT_ACK:
            interrupt_status_ &= ~value;
            break;
        case VIRTIO_MMIO_STATUS:
            control_.write_status(static_cast<uint8_t>(value));
            if (control_.status() == 0) {
                interrupt_status_ = 0;
            }
            break;
        case VIRTIO_MMIO_QUEUE_DESC_LOW:
        case VIRTIO_MMIO_QUEUE_DESC_HIGH:
            control_.set_queue_address(queue_, &QueueConfig::descriptor_area,
                                       offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
            break;
        case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
        case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
            control_.set_queue_address(queue_, &QueueConfig::driver_area,
                                       offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
            break;
        case VIRTIO_MMIO_QUEUE_USED_LOW:
        case VIRTIO_MMIO_QUEUE_USED_HIGH:
            control_.set_queue_address(queue_, &QueueConfig::device_area,
                                       offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
            break;
        default:
            break;
    }
}

void MmioTransport::resume() {
    if (interrupt_status_ != 0) {
        irq_.trigger();  // the driver may not have seen it
    }
    control_.resume();
}

void MmioTransport::save(StateWriter& state) const {
    control_.save(state);
    state.put(interrupt_status_.load());
    state.put(offered_half_);
    state.put(accepted_half_);
    state.put(queue_);
}

void MmioTransport::load(StateReader& state) {
    control_.load(state);
    interrupt_status_ = state.get<uint32_t>();
    offered_half_ = state.get<uint32_t>();
    accepted_half_ = state.get<uint32_t>();
    queue_ = state.get<uint32_t>();
}

}  // namespace hull::virtio
