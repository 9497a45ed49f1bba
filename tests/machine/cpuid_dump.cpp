// Prints what this host's KVM_GET_SUPPORTED_CPUID lists, in the form of tests/unit/data/*.cpuid.
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstdio>

#include "vmm/kvm/counted_list.h"
#include "vmm/kvm/kvm.h"

int main() {
    using List = hull::CountedList<kvm_cpuid_entry2>;
    try {
        const hull::Kvm kvm;
        List list{256};
        if (ioctl(kvm.fd(), List::request(KVM_GET_SUPPORTED_CPUID), list.data()) < 0) {
            std::perror("KVM_GET_SUPPORTED_CPUID");
            return 1;
        }
        for (const kvm_cpuid_entry2& entry : list.entries()) {
            std::printf("%08x %x %x %08x %08x %08x %08x\n", entry.function, entry.index, entry.flags,
                        entry.eax, entry.ebx, entry.ecx, entry.edx);
        }
    } catch (const hull::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
