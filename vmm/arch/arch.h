// What each instruction set defines for the machine: one set of names, one folder that CMake picks
// (vmm/arch/ISA).
#pragma once

#include <linux/kvm.h>
#include <ucontext.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "base/state.h"
#include "base/unique_fd.h"
#include "boot/platform.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vm.h"

namespace hull::arch {

/// The most vCPUs that a guest's tables can describe here.
extern const uint32_t kMaxCpus;

/// Where the devices of every machine answer and by which interrupt they call.
struct DevicePlace {
    DeviceNode node;
    const char* name;
};
extern const DevicePlace kSerialPlace;
extern const DevicePlace kPowerPlace;
extern const DevicePlace kPvpanicPlace;

/// Where virtio devices answer that are no PCI functions, `number` below kMostMmioDevices.
extern const uint32_t kMostMmioDevices;
DevicePlace virtio_mmio_place(uint32_t number);

/// The PCI bus, where the machine has one.
extern const PciHost kPciHost;
/// Ports by which its configuration is reached too, where this architecture has ports.
extern const std::optional<GuestRange> kPciPorts;
/// What KVM's interrupt controllers route by themselves, and the first number that is free for more.
std::vector<kvm_irq_routing_entry> interrupt_pins();
extern const uint32_t kFirstMessageInterrupt;

/// The clock chip, for guests that are described by a device tree: ACPI tells its guests that there is none.
extern const DevicePlace kRtcPlace;
/// The ports of the keyboard controller's reset line; it is never described, kernels know where it is.
extern const GuestRange kResetLinePorts;

/// The command line that boots an unmodified kernel fast; a user's own words come after it.
std::string default_cmdline(boot::PlatformTables tables, bool pci, bool virtio_console);

/// The ranges of RAM for a guest with `bytes` of memory.
std::vector<GuestRange> memory_layout(uint64_t bytes);

/// Capabilities that a host must have, by name, for messages and for `hull check`.
struct NeededCapability {
    unsigned long number;
    const char* name;
};
extern const std::vector<NeededCapability> kNeededCapabilities;

/// Interrupt controllers and whatever else must be there before the first vCPU. Throws Error (host_unfit).
void prepare_vm(Vm& vm);

/// Gives `vcpu`, one of `cpus`, its features, its place in the topology and its registers after reset.
/// Throws Error (host_unfit).
void prepare_vcpu(const Kvm& kvm, Vcpu& vcpu, uint32_t cpus);

/// What is to be booted, opened by the caller.
struct BootFiles {
    InputFile kernel;
    std::vector<InputFile> initramfs;
    std::string cmdline;  ///< whole
};

/// Loads the files and the tables into memory and sets the boot vCPU (index 0) so that its next instruction
/// is the kernel's first. Throws Error as boot's loader does.
void load_guest(BootFiles files, boot::PlatformTables tables, const boot::Platform& platform,
                GuestMemory& memory, Vcpu& boot_vcpu);

/// What KVM keeps of a machine beside its vCPUs: interrupt controllers, timers, the guest's clock. No vCPU
/// runs meanwhile. Throws Error (host_unfit) where KVM refuses, and load_vm() as StateReader does.
void save_vm(Vm& vm, StateWriter& state);
/// Into a VM behind prepare_vm(). The guest's clock goes on from where it stood.
void load_vm(Vm& vm, StateReader& state);

/// Everything of one vCPU that stands between two instructions, its processor's features among it. As
/// save_vm().
void save_vcpu(const Kvm& kvm, Vcpu& vcpu, StateWriter& state);
/// Into one behind prepare_vcpu(), its machine's memory mapped and load_vm() done. Throws Error (host_unfit)
/// naming what this host's processors lack.
void load_vcpu(Vcpu& vcpu, StateReader& state);
/// Tells the guest that `vcpu` was stopped for a while, so that it does not take its own processors for
/// stuck. To be called before it runs again; a guest that has no such clock is told nothing.
void tell_of_pause(Vcpu& vcpu);

/// In the handler of a signal that seccomp(2) sent for a system call: what the call is to return. Any thread.
void set_system_call_result(ucontext_t& context, int64_t result);

/// Puts a loop of kernel code into the first page of `memory` and makes `vcpu` about to run it; the vCPU
/// exits at its end (a port or memory access). Returns how many instructions the loop has. For `hull check`.
/// Throws Error (host_unfit).
uint64_t prepare_speed_probe(GuestMemory& memory, Vcpu& vcpu);

}  // namespace hull::arch
