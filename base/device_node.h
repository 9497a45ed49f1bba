// What a device tells about itself so that a guest can be told: the neutral form that ACPI and device trees
// are made of.
#pragma once

#include <cstdint>
#include <optional>

#include "base/guest_memory.h"

namespace hull {

/// Which device a node stands for. The builders in boot/ know how each is described to a guest.
enum class DeviceKind {
    serial,       ///< 16550A UART
    rtc,          ///< MC146818 clock
    power,        ///< power off, reset and the power button, at the registers below
    pvpanic,      ///< one byte through which the guest tells of its kernel's panic
    virtio_mmio,  ///< a virtio device behind memory-mapped registers; it says itself which
};

/// The registers of DeviceKind::power, as offsets into its range. An access of 1, 2 or 4 bytes at an offset
/// reaches its register; all else reads as zero and is ignored when written.
namespace power_registers {
/// ACPI 6.5, 4.8.3.7 "Sleep Control Register": (kSleepTypeOff << 2) | kSleepEnable powers the machine off.
inline constexpr uint64_t kSleepControl = 0x0;
inline constexpr uint8_t kSleepTypeOff = 5;
inline constexpr uint8_t kSleepEnable = 0x20;
/// ACPI 6.5, 4.8.3.7 "Sleep Status Register": always zero, since the machine never wakes.
inline constexpr uint64_t kSleepStatus = 0x4;
/// kResetValue written here resets the machine.
inline constexpr uint64_t kReset = 0x8;
inline constexpr uint8_t kResetValue = 1;
/// 32 bits: the events that have come since the last read; a read clears them. The interrupt tells of new
/// ones.
inline constexpr uint64_t kEvents = 0xc;
inline constexpr uint32_t kEventPowerButton = 1U << 0;
}  // namespace power_registers

/// Which of the two address spaces of a bus a device answers in.
enum class AddressSpace { port, memory };

/// One device: where it answers and by which interrupt it calls.
struct DeviceNode {
    DeviceKind kind;
    AddressSpace space;
    GuestRange range;                   ///< in `space`; ports fit in 16 bits
    std::optional<uint32_t> interrupt;  ///< global system interrupt (GSI), edge-triggered, active high
};

/// A PCI bus (segment 0, bus 0) whose functions are to be looked for.
struct PciHost {
    GuestRange configuration;  ///< of its functions, by memory accesses (ECAM); 1 MiB
    GuestRange window;         ///< where its functions have their registers; below 4 GiB
};

}  // namespace hull
