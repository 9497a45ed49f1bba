// One virtual machine as KVM sees it: memory slots and interrupts.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "base/guest_memory.h"
#include "base/io_ring.h"
#include "base/irq_line.h"
#include "base/unique_fd.h"
#include "vmm/kvm/kvm.h"

namespace hull {

/// A VM's descriptor and the requests made of it. Every member throws Error (host_unfit) where KVM refuses,
/// naming the request. Memory is for one thread, what connects for any; the process that made a VM is the
/// only one that can use it. What KVM has of it is freed by a thread of the kernel's, soon after its end.
class Vm {
  public:
    /// `kvm` must outlive the VM.
    explicit Vm(const Kvm& kvm);

    [[nodiscard]] const Kvm& kvm() const { return kvm_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

    /// Gives the guest every region of `memory`, which must outlive the VM, as memory slots 0, 1, … (4.35).
    void map_memory(const GuestMemory& memory);

    /// Connects an eventfd to a global system interrupt: each signal is one edge (4.75). The interrupt
    /// controllers must be there already.
    void connect_irqfd(uint32_t gsi, int eventfd);

    /// Lets a 32-bit write of `value` at a guest-physical address signal an eventfd instead of leaving the
    /// kernel (4.59).
    void connect_ioeventfd(GuestAddress address, uint32_t value, int eventfd);

    /// An ioctl on the VM; `request_name` is for the message.
    int request(unsigned long number, const void* argument, const char* request_name);
    int request(unsigned long number, unsigned long argument, const char* request_name);

  private:
    const Kvm& kvm_;
    /// Holds the VM's file, and is never used otherwise. Whoever closes that file last waits until KVM has
    /// freed everything of it, some 25 ms, in a process whose end somebody waits for; the file that a ring
    /// holds is closed by a thread of the kernel's. Where the host has no rings for us, the process waits.
    std::optional<IoRing> holder_;  // before fd_: closed after it
    UniqueFd fd_;
};

/// Lets a write of any value and, where KVM can, any width (else of 16 bits) at a guest-physical address
/// signal an eventfd instead of leaving the kernel (4.59), for as long as this is there. Any thread.
class Doorbell {
  public:
    /// Both outlive this. Throws Error (host_unfit) where KVM refuses.
    Doorbell(Vm& vm, GuestAddress address, int eventfd);
    Doorbell(const Doorbell&) = delete;
    Doorbell& operator=(const Doorbell&) = delete;
    ~Doorbell();

  private:
    void request(uint32_t flags);

    Vm& vm_;
    const GuestAddress address_;
    const int eventfd_;
};

/// One edge-triggered interrupt at a pin of the interrupt controllers. The thread that triggers it delivers
/// it (4.25 "KVM_IRQ_LINE"); an irqfd does so for messages alone and leaves a pin's edge to a kernel thread.
class PinIrqLine final : public IrqLine {
  public:
    /// `line` as the architecture's KVM_IRQ_LINE numbers it: on x86 the global system interrupt. `vm`, whose
    /// interrupt controllers are there, outlives this.
    PinIrqLine(Vm& vm, uint32_t line) : vm_{vm}, line_{line} {}
    void trigger() override;

  private:
    Vm& vm_;
    const uint32_t line_;
    std::mutex mutex_;  // of two edges at once the second must not be lost in the first
};

}  // namespace hull
