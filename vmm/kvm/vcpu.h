// One virtual processor as KVM sees it: running, and why it stopped running.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "base/guest_memory.h"
#include "base/mapping.h"
#include "base/unique_fd.h"
#include "vmm/kvm/vm.h"

struct kvm_run;

namespace hull {

/// Why Vcpu::run() came back (5., "The kvm_run structure"). `data` lies in the run area and is valid until
/// the next run(); what is put into the data of a read reaches the guest then.
namespace vcpu_exit {
struct PortRead {
    uint16_t port;
    std::span<std::byte> data;  ///< 1, 2 or 4 bytes, as often as `count` says (INS)
    uint32_t count;
};
struct PortWrite {
    uint16_t port;
    std::span<const std::byte> data;
    uint32_t count;
};
struct MemoryRead {
    GuestAddress address;
    std::span<std::byte> data;  ///< 1 to 8 bytes
};
struct MemoryWrite {
    GuestAddress address;
    std::span<const std::byte> data;
};
struct Interrupted {};  ///< by a signal, or by Vcpu::request_exit()
struct Shutdown {};     ///< a triple fault
/// The guest asked for it by its firmware's interface (arm64: PSCI).
struct SystemEvent {
    uint32_t type;  ///< KVM_SYSTEM_EVENT_*
};
struct Failure {
    std::string why;  ///< for a person
};
}  // namespace vcpu_exit

using VcpuExit =
    std::variant<vcpu_exit::PortRead, vcpu_exit::PortWrite, vcpu_exit::MemoryRead, vcpu_exit::MemoryWrite,
                 vcpu_exit::Interrupted, vcpu_exit::Shutdown, vcpu_exit::SystemEvent, vcpu_exit::Failure>;

/// A vCPU's descriptor and run area. run() is for one thread (KVM wants the same thread always, 1.);
/// request_exit() is for any.
class Vcpu {
  public:
    /// `index` counts from 0 and becomes the processor's identity (on x86 the local APIC id). `vm` must
    /// outlive it. Throws Error (host_unfit).
    Vcpu(Vm& vm, uint32_t index);

    [[nodiscard]] uint32_t index() const { return index_; }

    /// Runs guest code until something is to be done outside.
    [[nodiscard]] VcpuExit run();

    /// Makes a run() that is about to start come back at once as Interrupted. One that is under way needs a
    /// signal to its thread as well (4.10, immediate_exit).
    void request_exit();
    /// Takes that back: run() runs the guest again. For the thread that calls run().
    void withdraw_exit_request();

    /// An ioctl on the vCPU. Throws Error (host_unfit) naming `request_name` where KVM refuses.
    int request(unsigned long number, const void* argument, const char* request_name);
    /// The same for what is optional: false where KVM refuses.
    [[nodiscard]] bool try_request(unsigned long number, const void* argument);

  private:
    [[nodiscard]] VcpuExit decode_exit();
    [[nodiscard]] VcpuExit decode_port_access();

    uint32_t index_;
    UniqueFd fd_;
    Mapping run_area_;
    kvm_run* run_;  // = run_area_
};

}  // namespace hull
