// The entropy device (VIRTIO 1.2, 5.4): random bytes of the host's.
#pragma once

#include <linux/virtio_config.h>

#include <optional>

#include "base/worker_thread.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// Fills what the driver asks for from getrandom(2), on a thread of its own.
class Rng final : public VirtioDevice {
  public:
    [[nodiscard]] uint32_t type() const override;
    [[nodiscard]] uint64_t features() const override { return feature(VIRTIO_F_RING_RESET); }
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
    void read_configuration(uint64_t /*offset*/, std::span<std::byte> /*data*/) const override {}
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    void reset() override;

    /// The most that one request is given; a driver asks again for more.
    static constexpr size_t kMostPerRequest = size_t{64} << 10;
    /// Answers one request: fills its device-writable part from the front, up to kMostPerRequest bytes, and
    /// says how many. Any thread.
    static uint32_t fill(const DescriptorChain& chain);

  private:
    static constexpr uint16_t kQueueSizes[] = {64};

    std::optional<ActiveQueue> queue_;
    WorkerThread worker_{ThreadKind::rng, "rng"};  // last: it uses the queue
};

}  // namespace hull::virtio
