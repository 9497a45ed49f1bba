// Where KVM sends each global system interrupt (api.rst 4.52, KVM_SET_GSI_ROUTING).
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/log.h"
#include "devices/pci/msix.h"
#include "vmm/kvm/counted_list.h"
#include "vmm/kvm/vm.h"

namespace hull {

/// The VM's table of routes: those of its interrupt controllers' pins, which stay, and those of messages,
/// which the guest chooses. Any thread.
class InterruptRoutes {
  public:
    /// What KVM is asked for the table: the only request that is made while the guest runs.
    static constexpr unsigned long kRequest =
        CountedList<kvm_irq_routing_entry>::request(KVM_SET_GSI_ROUTING);

    /// `pins` is what KVM has by itself for this architecture's interrupt controllers, since a table that is
    /// set takes the place of all of it; messages get the numbers from `first_message` on. `vm` must outlive
    /// the routes, and they what they make.
    InterruptRoutes(Vm& vm, std::vector<kvm_irq_routing_entry> pins, uint32_t first_message)
        : vm_{vm}, first_message_{first_message}, entries_{std::move(pins)} {}

    /// An interrupt of its own number, sent by an irqfd to wherever the guest routes it. A route that KVM
    /// refuses is logged, and the interrupt is lost: only that guest's device stands still. Its number is
    /// free again when it is destroyed. Throws Error (host_unfit) where KVM has no more of them.
    std::unique_ptr<pci::MessageInterrupt> make_message_interrupt();
    /// KVM forgets the routes of interrupts that were destroyed, otherwise with the next route of another.
    void forget_destroyed();

  private:
    class Message;
    void route(uint32_t gsi, uint64_t address, uint32_t data);
    void release(uint32_t gsi);
    void set_table();

    Vm& vm_;
    const uint32_t first_message_;
    std::mutex mutex_;  // all below, and the order of KVM's tables
    std::vector<kvm_irq_routing_entry> entries_;
    std::vector<bool> taken_;  // by message, from first_message_ on
    RateLimitedLog log_;       // a guest can write to its table as often as it likes
};

}  // namespace hull
