// One PCI bus: its functions' configuration spaces, which are reached by memory accesses (PCI Express Base
// Specification 4.0, 7.2.2 "PCI Express Enhanced Configuration Access Mechanism (ECAM)") and by a pair of
// ports (PCI Local Bus Specification 3.0, 3.2.2.3.2 "Software Generation of Configuration Transactions"), and
// the window of its functions' registers.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <span>

#include "base/guest_memory.h"
#include "base/state.h"
#include "devices/bus/bus.h"
#include "devices/pci/config_space.h"

namespace hull::pci {

/// A device of one function as the bus sees it. vCPU threads call at the same time; a function locks for
/// itself.
class Function : public Stateful {
  public:
    /// Accesses to its configuration space, offset + data.size() at most PciBus::kConfigSize.
    virtual void read_config(uint64_t offset, std::span<std::byte> data) = 0;
    virtual void write_config(uint64_t offset, std::span<const std::byte> data) = 0;
    /// Accesses to its registers, offset + data.size() at most PciBus::kRegistersSize.
    virtual void read_registers(uint64_t offset, std::span<std::byte> data) = 0;
    virtual void write_registers(uint64_t offset, std::span<const std::byte> data) = 0;
};

/// Bus 0 of segment 0. In slot 0 is the bridge to it, by which Linux knows that there is a bus behind the
/// ports; each further slot has room for a function, which may come and go while the guest runs. One without
/// reads as all ones in the configuration space, and as zeros in the window.
class PciBus final : public Stateful {
  public:
    static constexpr uint32_t kSlots = 32;
    /// A function's configuration space; each slot has room for eight functions.
    static constexpr uint64_t kConfigSize = 0x1000;
    static constexpr uint64_t kFunctions = 8;
    static constexpr uint64_t kEcamSize = kConfigSize * kFunctions * kSlots;
    /// Each slot has so much of the window for its function's registers, whose place is fixed.
    static constexpr uint64_t kRegistersSize = 0x1'0000;
    static constexpr uint64_t kWindowSize = kRegistersSize * kSlots;

    /// The ports: four bytes that say which configuration space and what of it, and four for its data.
    static constexpr uint64_t kPorts = 8;

    /// `window`, kWindowSize long below 4 GiB, is where the machine attaches window().
    explicit PciBus(const GuestRange& window) : window_start_{window.start()} { plug(0, bridge_); }

    [[nodiscard]] BusDevice& ecam() { return ecam_; }
    [[nodiscard]] BusDevice& ports() { return ports_; }
    [[nodiscard]] BusDevice& window() { return window_; }

    /// Where the registers of the function in `slot` are.
    [[nodiscard]] GuestAddress registers_of(uint32_t slot) const {
        return GuestAddress{raw(window_start_) + slot * kRegistersSize};
    }
    /// Puts `function` into `slot`, which is empty. Any thread, also while the guest runs, which finds it
    /// when it looks again; but one of plug() and unplug() at a time.
    void plug(uint32_t slot, Function& function) { slots_.at(slot).function = &function; }
    /// Empties `slot`, which is not the bridge's. Once it has returned, nobody reads or writes the function
    /// and nobody will: it waits for who does so now. Any thread that does not, also while the guest runs.
    void unplug(uint32_t slot);

    /// All functions, which must be those that were there when the state was saved.
    void quiesce() override;
    void resume() override;
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

  private:
    struct Ecam final : BusDevice {
        explicit Ecam(PciBus& bus) : bus_{bus} {}
        void read(uint64_t offset, std::span<std::byte> data) override;
        void write(uint64_t offset, std::span<const std::byte> data) override;
        PciBus& bus_;
    };
    struct Ports final : BusDevice {
        explicit Ports(PciBus& bus) : bus_{bus} {}
        void read(uint64_t offset, std::span<std::byte> data) override;
        void write(uint64_t offset, std::span<const std::byte> data) override;
        /// Where in ECAM an access to the data is, or beyond all of it.
        [[nodiscard]] uint64_t target(uint64_t offset);
        void save(StateWriter& state) const override;
        void load(StateReader& state) override;
        PciBus& bus_;
        mutable std::mutex mutex_;
        uint32_t address_ = 0;
    };
    struct Window final : BusDevice {
        explicit Window(PciBus& bus) : bus_{bus} {}
        void read(uint64_t offset, std::span<std::byte> data) override;
        void write(uint64_t offset, std::span<const std::byte> data) override;
        PciBus& bus_;
    };

    struct Slot {
        std::atomic<Function*> function{nullptr};
        std::shared_mutex in_use;  // shared by those who are inside the function
    };

    /// Calls `use` with the function that has the piece of kSize bytes at `offset`, and where in that piece
    /// it is; a slot has so many pieces, of which all but the first are nobody's. Nothing where there is no
    /// function, or where an access of `length` bytes does not end in the same piece.
    template <uint64_t kSize, uint64_t kPerSlot, typename Use>
    void access(uint64_t offset, size_t length, const Use& use);

    /// A function that has a configuration space and nothing else.
    struct Bridge final : Function {
        void read_config(uint64_t offset, std::span<std::byte> data) override { config_.read(offset, data); }
        void write_config(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
        void read_registers(uint64_t /*offset*/, std::span<std::byte> /*data*/) override {}
        void write_registers(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
        const ConfigSpace config_{{.vendor = 0x1b36,
                                   .device = 0x0008,  // what emulated host bridges without a pattern are
                                   .revision = 0,
                                   .class_code = 0x06'0000,
                                   .subsystem_vendor = 0,
                                   .subsystem = 0}};
    };

    const GuestAddress window_start_;
    Bridge bridge_;
    Ecam ecam_{*this};
    Ports ports_{*this};
    Window window_{*this};
    std::array<Slot, kSlots> slots_;
};

}  // namespace hull::pci
