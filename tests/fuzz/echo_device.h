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

/// Features of the rings and of their reset, chosen by the bits of a byte.
inline uint64_t ring_features(uint8_t choice) {
    using virtio::feature;
    return ((choice & 1) != 0 ? feature(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
           ((choice & 2) != 0 ? feature(VIRTIO_RING_F_EVENT_IDX) : 0) |
           ((choice & 4) != 0 ? feature(VIRTIO_F_RING_RESET) : 0);
}

}  // namespace hull::test
