#include "vmm/kvm/kvm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <string>
#include <utility>

namespace hull {

UniqueFd open_kvm() {
    UniqueFd fd{open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    if (!fd.valid()) {
        const int cause = errno;
        const char* advice = "see what 'hull check' says";
        if (cause == ENOENT || cause == ENODEV || cause == ENXIO) {
            advice =
                "switch virtualization on in the firmware and load the module (as root: modprobe kvm-intel "
                "or kvm-amd)";
        } else if (cause == EACCES || cause == EPERM) {
            advice = "join the group that owns it (as root: usermod -aG kvm USER) and log in again";
        }
        throw Error{ExitStatus::host_unfit, "cannot open /dev/kvm", errno_text(cause), advice};
    }
    return fd;
}

Kvm::Kvm(UniqueFd device) : fd_{std::move(device)} {
    const int version = ioctl(fd_.get(), KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        throw Error{
            ExitStatus::host_unfit, "cannot use /dev/kvm",
            "it speaks API version " + std::to_string(version) + ", not " + std::to_string(KVM_API_VERSION),
            "use a Linux kernel from 2.6.22 on"};
    }
}

int Kvm::capability(unsigned long number) const {
    const int value = ioctl(fd_.get(), KVM_CHECK_EXTENSION, number);
    return value < 0 ? 0 : value;
}

size_t Kvm::run_area_size() const {
    const int size = ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < 0) {
        throw Error{ExitStatus::host_unfit, "cannot ask KVM for the size of a vCPU's run area",
                    errno_text(errno)};
    }
    return static_cast<size_t>(size);
}

uint32_t Kvm::max_vcpus() const {
    // Hosts that do not know the second capability mean the first (4.4, KVM_CAP_NR_VCPUS); and 4 where there
    // is neither.
    const int most = capability(KVM_CAP_MAX_VCPUS);
    const int recommended = capability(KVM_CAP_NR_VCPUS);
    return static_cast<uint32_t>(most > 0 ? most : recommended > 0 ? recommended : 4);
}

}  // namespace hull
