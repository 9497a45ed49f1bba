// Virtio over a PCI function (VIRTIO 1.2, 4.1), without the registers of before version 1.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "devices/pci/bus.h"
#include "devices/pci/config_space.h"
#include "devices/pci/msix.h"
#include "devices/virtio/control.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// One device as a PCI function, with an MSI-X vector for each queue and one for its configuration. Kicks
/// usually do not come here but by each queue's eventfd, which the machine binds to doorbell().
class PciTransport final : public pci::Function {
  public:
    /// `registers` is where the bus has the function's registers. `make_interrupt` is called once for each
    /// vector. Everything else given must outlive the transport. `name` is for the log.
    PciTransport(VirtioDevice& device, GuestMemory& memory, GuestAddress registers,
                 const pci::MakeMessageInterrupt& make_interrupt, std::string name);

    void read_config(uint64_t offset, std::span<std::byte> data) override;
    void write_config(uint64_t offset, std::span<const std::byte> data) override;
    void read_registers(uint64_t offset, std::span<std::byte> data) override;
    void write_registers(uint64_t offset, std::span<const std::byte> data) override;

    void quiesce() override { control_.quiesce(); }
    void resume() override;
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

    /// How many queues there are, and for each of them the eventfd that kicks it and where among the
    /// registers a driver writes to do so; what it writes does not matter.
    [[nodiscard]] uint32_t queue_count() const;
    [[nodiscard]] int kick_fd(uint32_t queue) const { return control_.kick_fd(queue); }
    [[nodiscard]] static uint64_t doorbell(uint32_t queue);

  private:
    void interrupt(uint32_t vector);
    [[nodiscard]] uint32_t read_common(uint64_t offset, size_t size) const;
    void write_common(uint64_t offset, size_t size, uint32_t value);
    [[nodiscard]] uint16_t valid_vector(uint32_t value) const;
    /// What registers hold after a reset, beside what control_ has.
    void forget();
    /// The register that an access to the configuration space goes through to, if any (4.1.4.9).
    [[nodiscard]] std::optional<uint64_t> windowed_register(uint64_t offset, size_t size) const;

    pci::Msix msix_;
    std::vector<std::atomic<uint16_t>> vectors_;  // each queue's; the last is the configuration's
    std::atomic<uint8_t> interrupt_status_{0};
    std::mutex mutex_;  // all below
    pci::ConfigSpace config_;
    size_t msix_control_ = 0;   // where in config_
    size_t config_access_ = 0;  // likewise: struct virtio_pci_cfg_cap without its two bytes of header
    uint32_t offered_half_ = 0;
    uint32_t accepted_half_ = 0;
    uint16_t queue_ = 0;
    DeviceControl control_;
};

}  // namespace hull::virtio
