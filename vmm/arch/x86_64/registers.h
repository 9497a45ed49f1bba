// The registers of a vCPU before its first instruction.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "boot/x86/loader.h"

namespace hull::arch {

/// A model-specific register that every vCPU starts with.
struct InitialMsr {
    uint32_t index;
    uint64_t value;
};
/// What the firmware of a PC would have set. Each is optional: some hosts refuse some of them.
std::vector<InitialMsr> initial_msrs();

/// Changes the state after reset, as KVM gives it, into the one that the loader asks for.
void set_entry_registers(const boot::x86::EntryState& entry, kvm_sregs& system, kvm_regs& general);

}  // namespace hull::arch
