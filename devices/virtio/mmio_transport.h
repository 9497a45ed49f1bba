// Virtio over memory-mapped registers (VIRTIO 1.2, 4.2).
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "base/guest_memory.h"
#include "base/irq_line.h"
#include "devices/bus/bus.h"
#include "devices/virtio/control.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// One device's page of registers. Kicks usually do not come here but by each queue's eventfd, which the
/// machine binds to kDoorbell.
class MmioTransport final : public BusDevice {
  public:
    static constexpr uint64_t kSize = 0x1000;
    /// Where a driver writes a queue's 32-bit index to kick it.
    static constexpr uint64_t kDoorbell = 0x50;

    /// Everything given must outlive the transport. `name` is for the log.
    MmioTransport(VirtioDevice& device, GuestMemory& memory, IrqLine& irq, std::string name);

    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

    void quiesce() override { control_.quiesce(); }
    void resume() override;
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

    /// How many queues there are, and the eventfd that kicks each of them.
    [[nodiscard]] uint32_t queue_count() const;
    [[nodiscard]] int kick_fd(uint32_t queue) const { return control_.kick_fd(queue); }

  private:
    [[nodiscard]] uint32_t read_register(uint64_t offset) const;
    void write_register(uint64_t offset, uint32_t value);

    IrqLine& irq_;
    std::atomic<uint32_t> interrupt_status_{0};
    std::mutex mutex_;  // all below
    uint32_t offered_half_ = 0;
    uint32_t accepted_half_ = 0;
    uint32_t queue_ = 0;
    DeviceControl control_;
};

}  // namespace hull::virtio
