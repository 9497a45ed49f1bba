// A virtio device for fuzz targets: it answers every request, and sees that whoever carries it keeps its
// word.
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "devices/virtio/device.h"
#include "devices/virtio/ring_layout.h"
#include "tests/fuzz/input.h"
#include "tests/support/virtio_driver.h"

namespace hull::test {

/// Answers every request by as many bytes as it has room for, when it is asked to. Two queues, of kQueueSize
/// and twice that.
class EchoDevice final : public virtio::VirtioDevice {
  public:
    static constexpr uint16_t kQueueSize = 8;

    [[nodiscard]] uint32_t type() const override { return VIRTIO_ID_CONSOLE; }
    [[nodiscard]] uint64_t features() const override { return 1 | virtio::feature(VIRTIO_F_RING_RESET); }
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kSizes; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override {
        if (offset == 0 && !data.empty()) {
            data[0] = std::byte{1};
        }
    }
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(virtio::Activation given) override {
        require(!activation_);
        stopped_ = false;
        activation_.emplace(std::move(given));
    }
    void stop() override {
        require(activation_.has_value());
        activation_.reset();
        stopped_ = true;
    }
    void reset() override {
        require(activation_.has_value() || std::exchange(stopped_, false));
        activation_.reset();
        broken_ = {};
    }

    void serve() {
        if (!activation_) {
            return;
        }
        for (virtio::ActiveQueue& queue : activation_->queues) {
            require(queue.index < std::size(kSizes) && queue.queue.size() <= kSizes[queue.index]);
            for (int count = 0; count < 2 * kQueueSize && !broken_.at(queue.index); ++count) {
                auto chain = queue.queue.pop();
                if (!chain) {
                    broken_.at(queue.index) = true;
                    activation_->driver.needs_reset(chain.error().what);
                    break;
                }
                if (!*chain) {
                    break;
                }
                virtio::ChainReader reader = (*chain)->reader();
                virtio::ChainWriter writer = (*chain)->writer();
                uint32_t written = 0;
                while (const auto value = reader.read<uint8_t>()) {
                    if (!writer.write(*value)) {
                        break;
                    }
                    ++written;
                }
                queue.queue.push(std::move(**chain), written);
            }
            if (queue.queue.interrupt_is_wanted()) {
                activation_->driver.used_buffers(queue.index);
            }
            static_cast<void>(queue.queue.ask_for_kicks());
            queue.queue.hold_kicks();
        }
    }
    void change_configuration() {
        if (activation_) {
            activation_->driver.configuration_changed();
        }
    }

  private:
    static constexpr uint16_t kSizes[] = {kQueueSize, 2 * kQueueSize};
    std::optional<virtio::Activation> activation_;
    bool stopped_ = false;
    std::array<bool, 2> broken_{};
};

/// A guest with such a device, whatever carries it: its memory, its driver's rings of queue 0, and a request.
struct EchoGuest {
    static constexpr uint64_t kRings = 0x1000;
    static constexpr uint64_t kRingsSize = 0x3000;
    static constexpr uint64_t kData = 0x4000;
    static constexpr uint64_t kEnd = 0x10000;
    static constexpr Buffer kRequest[] = {{kData, 16, false}, {kData + 0x100, 16, true}};

    /// Begins anew with empty rings, as `start` sets a queue up and the driver's status to "driver OK", and
    /// is served.
    template <typename Start>
    void expect_service(Start start) {
        require(memory.discard(GuestRange::of(kRings, kRingsSize)));
        DriverQueue anew{memory, kRings, EchoDevice::kQueueSize};
        start(anew.config());
        anew.add(kRequest);
        device.serve();
        const auto used = anew.take_used();
        require(used.size() == 1 && used[0].len == 16);
    }

    const GuestRange ranges[1] = {GuestRange::of(0, kEnd)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    EchoDevice device;
    DriverQueue queue{memory, kRings, EchoDevice::kQueueSize};
};

/// Features of the rings and of their reset, chosen by the bits of a byte.
inline uint64_t ring_features(uint8_t choice) {
    using virtio::feature;
    return ((choice & 1) != 0 ? feature(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
           ((choice & 2) != 0 ? feature(VIRTIO_RING_F_EVENT_IDX) : 0) |
           ((choice & 4) != 0 ? feature(VIRTIO_F_RING_RESET) : 0);
}

}  // namespace hull::test
