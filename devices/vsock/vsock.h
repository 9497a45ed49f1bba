// The socket device (VIRTIO 1.2, 5.10).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/unique_fd.h"
#include "base/worker_thread.h"
#include "devices/virtio/device.h"
#include "devices/vsock/connections.h"

namespace hull::virtio {

struct VsockSettings {
    uint32_t cid = 0;       ///< the guest's: 3 to 2^32 - 2 (5.10.4)
    HostConnector connect;  ///< for the guest's own connections; called on one thread
};

/// A socket device for streams, whose other side is unix sockets of the host's. One thread carries all.
class Vsock final : public VirtioDevice {
  public:
    /// `listener` is what programs of the host's connect to; it does not block.
    Vsock(VsockSettings settings, UniqueFd listener)
        : settings_{std::move(settings)}, listener_{std::move(listener)} {}

    [[nodiscard]] uint32_t type() const override;
    [[nodiscard]] uint64_t features() const override;
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    /// The streams go on behind it.
    void stop() override;
    /// Ends all streams.
    void reset() override;
    /// Without the streams, of which the driver is told that they have ended.
    void load(StateReader& state) override;

  private:
    void tell_of_end(DriverCalls& driver);
    /// On the worker's thread.
    void serve(DriverCalls& driver, int stop_fd);

    /// rx, tx and event.
    static constexpr uint16_t kQueueSizes[] = {256, 256, 16};

    const VsockSettings settings_;
    const UniqueFd listener_;
    std::optional<ActiveQueue> receive_queue_;
    std::optional<ActiveQueue> transmit_queue_;
    std::optional<ActiveQueue> event_queue_;
    std::unique_ptr<VsockConnections> connections_;    // from the first activation to the reset
    bool tell_of_end_ = false;                         // that the streams which the driver knows are no more
    WorkerThread worker_{ThreadKind::vsock, "vsock"};  // last: it uses the queues
};

}  // namespace hull::virtio
