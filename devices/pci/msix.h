// Interrupts as messages (PCI Local Bus Specification 3.0, 6.8.2 "MSI-X Capability and Table Structures").
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/irq_line.h"
#include "base/state.h"

namespace hull::pci {

/// An interrupt whose message the guest chooses.
class MessageInterrupt : public IrqLine {
  public:
    /// From the next trigger() on this is sent: `data` to `address` (on x86 a local APIC's). Never while
    /// trigger() runs.
    virtual void route(uint64_t address, uint32_t data) = 0;
};

/// Makes an interrupt for one vector. Throws Error where the host has no more of them.
using MakeMessageInterrupt = std::function<std::unique_ptr<MessageInterrupt>()>;

/// A function's vectors: the table, the pending bits, and what the capability's control word says of all of
/// them. Any thread.
class Msix final : public Stateful {
  public:
    static constexpr size_t kEntrySize = 16;

    explicit Msix(std::vector<std::unique_ptr<MessageInterrupt>> vectors);

    /// Sends the vector's message now, or when it is unmasked. Nothing where there is no such vector or the
    /// guest has not enabled MSI-X.
    void trigger(size_t vector);

    /// The capability's message control word as the guest wrote it.
    void set_control(uint16_t control);

    /// Accesses to the table, vectors * kEntrySize long, and to the pending bits; of 4 or 8 bytes at
    /// multiples of their size, all others read as zero and change nothing. What is beyond reads as zero.
    void read_table(uint64_t offset, std::span<std::byte> data) const;
    void write_table(uint64_t offset, std::span<const std::byte> data);
    void read_pending(uint64_t offset, std::span<std::byte> data) const;

    /// Without the control word, which is the configuration space's; set_control() comes after load().
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

  private:
    struct Vector {
        std::unique_ptr<MessageInterrupt> interrupt;
        uint64_t address = 0;
        uint32_t data = 0;
        bool masked = true;
        bool pending = false;
        bool routed = false;  // `interrupt` knows address and data
    };

    /// Where the vector may send: tells its interrupt what, and sends what is pending.
    void settle(Vector& vector);

    mutable std::mutex mutex_;
    std::vector<Vector> vectors_;
    bool enabled_ = false;
    bool all_masked_ = false;
};

}  // namespace hull::pci
