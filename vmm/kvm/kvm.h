// The KVM device: what the host's kernel offers (Linux, Documentation/virt/kvm/api.rst, whose section numbers
// are given).
#pragma once

#include <cstdint>
#include <vector>

#include "base/unique_fd.h"

struct kvm_cpuid_entry2;

namespace hull {

/// Opens /dev/kvm. Throws Error (host_unfit) saying what is missing and how to get it: no such device, no
/// permission.
UniqueFd open_kvm();

/// The opened /dev/kvm. Any thread may call any member.
class Kvm {
  public:
    /// `device` is from open_kvm(). Throws Error (host_unfit) where it has another API version.
    explicit Kvm(UniqueFd device = open_kvm());

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// The value of a capability (4.4), 0 where the host lacks it.
    [[nodiscard]] int capability(unsigned long number) const;
    /// Bytes of a vCPU's shared run area (4.5).
    [[nodiscard]] size_t run_area_size() const;
    /// The most vCPUs that a machine can have.
    [[nodiscard]] uint32_t max_vcpus() const;

  private:
    UniqueFd fd_;
};

}  // namespace hull
