// The console device (VIRTIO 1.2, 5.3).
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/worker_thread.h"
#include "devices/console/console_queues.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// In characters. As one word, so that both are read and written at once.
struct alignas(uint32_t) ConsoleSize {
    uint16_t columns = 0;
    uint16_t rows = 0;
};

/// Either one console, or ports that the guest finds by their names. They are two devices since a console's
/// size has two forms: in the configuration space, and in a message of the control queues. Of the message's
/// two fields kernels differ in which comes first, so a console does without these queues. One thread carries
/// all.
class Console final : public VirtioDevice {
  public:
    /// The most ports that a device here may have.
    static constexpr size_t kMostPorts = 30;

    /// A console. One that has a size may get another later. `host` must outlive this object.
    Console(PortHost& host, std::optional<ConsoleSize> size);
    /// Named ports, 1 to kMostPorts. Their hosts must outlive this object.
    explicit Console(std::vector<NamedPort> ports);

    [[nodiscard]] uint32_t type() const override;
    [[nodiscard]] uint64_t features() const override;
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    /// What the guest had sent to a port's host and that has taken a part of is kept for it.
    void stop() override;
    /// All that the guest had sent is kept for the ports' hosts.
    void reset() override;
    /// What the driver knows of the ports. A console has the size of its own host, of which the driver is
    /// told.
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

    /// Tells the guest of a new size, where the console has one. Any thread.
    void resize(ConsoleSize size);
    /// Once the vCPUs have stopped: resets, and writes what the guest had sent as long as the hosts take
    /// something every second.
    void finish();

  private:
    void leave_queues(PortQueues::Rest which);

    static constexpr uint16_t kQueueSize = 64;

    PortHost* const console_;  // none: it has named ports
    const std::vector<NamedPort> ports_;
    const bool has_size_;
    const std::vector<uint16_t> queue_sizes_;
    std::atomic<ConsoleSize> size_;
    std::atomic<DriverCalls*> driver_{nullptr};  // from activate() to reset()
    UniqueFd driver_is_up_ = make_eventfd();
    std::vector<PortState> states_;  // of each port, or of the console
    std::optional<ConsoleQueues> queues_;
    WorkerThread worker_{ThreadKind::console, "console"};  // last: it uses the queues
};

}  // namespace hull::virtio
