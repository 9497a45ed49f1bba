// CPUID tables that no host gives: the guest's table keeps its promises over any of them.
#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "vmm/arch/x86_64/cpuid.h"

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) {
        return 0;
    }
    const uint32_t cpus = 1 + data[0] % 254U;
    const uint32_t index = data[1] % cpus;
    std::vector<kvm_cpuid_entry2> supported((size - 2) / sizeof(kvm_cpuid_entry2));
    if (!supported.empty()) {
        std::memcpy(supported.data(), data + 2, supported.size() * sizeof(kvm_cpuid_entry2));
    }
    const auto table =
        hull::arch::make_cpuid(supported, {.index = index, .cpus = cpus, .tsc_deadline = true});
    bool has_topology = false;
    for (const kvm_cpuid_entry2& entry : table) {
        has_topology = has_topology || entry.function == 0xb;
        const bool good = entry.function == 1     ? entry.ebx >> 24 == index && (entry.ecx >> 5 & 1) == 0
                          : entry.function == 0xb ? entry.edx == index
                          : entry.function == 0xa ? entry.eax == 0
                                                  : true;
        if (!good) {
            std::abort();
        }
    }
    // At most each of three topology leaves grows to three levels.
    if (!has_topology || table.size() > supported.size() + 9) {
        std::abort();
    }
    return 0;
}
