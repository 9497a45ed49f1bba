// The network device (VIRTIO 1.2, 5.1).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/unique_fd.h"
#include "base/worker_thread.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

using MacAddress = std::array<uint8_t, 6>;

struct NetSettings {
    MacAddress mac{};
    bool offloads =
        false;         ///< the descriptor is that of a tap device, which completes and takes large frames
    std::string name;  ///< for the log
};

/// A network device whose other side is a descriptor that takes and gives one frame a write and a read, with
/// a struct virtio_net_hdr_v1 before it: a tap device, or a socket that keeps messages apart. It does not
/// block. One thread carries both directions.
class Net final : public VirtioDevice {
  public:
    Net(NetSettings settings, UniqueFd link) : settings_{std::move(settings)}, link_{std::move(link)} {}

    [[nodiscard]] uint32_t type() const override;
    [[nodiscard]] uint64_t features() const override;
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    void reset() override;

  private:
    static constexpr uint16_t kQueueSizes[] = {256, 256};  // to the guest, from the guest

    const NetSettings settings_;
    const UniqueFd link_;
    std::optional<ActiveQueue> receive_queue_;
    std::optional<ActiveQueue> transmit_queue_;
    std::optional<WorkerThread> worker_;  // last: it uses the queues
};

}  // namespace hull::virtio
