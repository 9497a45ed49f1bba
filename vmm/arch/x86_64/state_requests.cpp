#include "vmm/arch/state_requests.h"

#include <linux/kvm.h>

#include "vmm/arch/x86_64/sized_requests.h"
#include "vmm/kvm/counted_list.h"

namespace hull::arch {

std::vector<StateRequest> state_requests() {
    return {
        {KVM_GET_IRQCHIP, "a snapshot: the interrupt controllers"},
        {KVM_GET_PIT2, "the same: the timer"},
        {KVM_GET_CLOCK, "the same: the guest's clock"},
        {CountedList<kvm_cpuid_entry2>::request(KVM_GET_CPUID2), "the same: what a processor says of itself"},
        {KVM_GET_TSC_KHZ, "the same: the rate of its counter"},
        {KVM_GET_MP_STATE, "the same: whether it runs, waits or was never started"},
        {KVM_GET_REGS, "the same: its general registers"},
        {KVM_GET_SREGS, "the same: its system registers"},
        {kGetXsave, "the same: its vector registers"},
        {KVM_GET_XCRS, "the same: which of these are in use"},
        {KVM_GET_DEBUGREGS, "the same: its debug registers"},
        {KVM_GET_LAPIC, "the same: its interrupt controller"},
        {kGetMsrIndexList, "the same: which model-specific registers there are"},
        {CountedList<kvm_msr_entry>::request(KVM_GET_MSRS), "the same: these"},
        {KVM_GET_VCPU_EVENTS, "the same: the exceptions and interrupts that wait"},
    };
}

}  // namespace hull::arch
