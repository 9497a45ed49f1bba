// What a machine asks KVM when it is written down: for the jail's list of system calls, which is made before
// there is a machine.
#pragma once

#include <vector>

namespace hull::arch {

struct StateRequest {
    unsigned long number;  ///< of the ioctl
    const char* why;       ///< what it is needed for
};

/// Those of save_vm() and save_vcpu() (vmm/arch/arch.h).
[[nodiscard]] std::vector<StateRequest> state_requests();

}  // namespace hull::arch
