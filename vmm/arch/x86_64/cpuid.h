// What the guest's CPUID instruction answers (Intel SDM vol. 2A "CPUID"; AMD APM vol. 3, appendix E).
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hull::arch {

/// One vCPU's place, and what its host adds to what KVM lists.
struct CpuidOptions {
    uint32_t index = 0;  ///< = local APIC id
    uint32_t cpus = 1;   ///< 1 to 254: one socket of so many cores with one thread each
    bool tsc_deadline =
        false;  ///< KVM has KVM_CAP_TSC_DEADLINE_TIMER, which KVM_GET_SUPPORTED_CPUID does not tell
};

/// The table for one vCPU, made from what KVM_GET_SUPPORTED_CPUID lists: features as they are, except that a
/// guest may not start guests of its own and has no performance counters (a smaller surface towards the
/// host); topology, APIC ids and cache sharing rewritten for one socket of `cpus` cores. A pure function.
std::vector<kvm_cpuid_entry2> make_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                         const CpuidOptions& options);

/// Why a guest that has seen the table `seen` cannot go on where the table would be `here`; empty where it
/// can: this host has each of the features, and keeps the same registers at the same place of the XSAVE area.
/// What differs from vCPU to vCPU, or is there to be read only, is not looked at. A pure function.
std::string why_not_on(std::span<const kvm_cpuid_entry2> seen, std::span<const kvm_cpuid_entry2> here);

}  // namespace hull::arch
