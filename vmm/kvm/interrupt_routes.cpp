#include "vmm/kvm/interrupt_routes.h"

#include <algorithm>

#include "base/log.h"
#include "vmm/kvm/counted_list.h"

namespace hull {

class InterruptRoutes::Message final : public pci::MessageInterrupt {
  public:
    Message(InterruptRoutes& routes, uint32_t gsi) : routes_{routes}, gsi_{gsi} {
        routes_.vm_.connect_irqfd(gsi_, line_.fd());
    }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;
    // KVM lets go of an irqfd whose eventfd is closed, as line_'s is next.
    ~Message() override { routes_.release(gsi_); }
    void trigger() override { line_.trigger(); }
    void route(uint64_t address, uint32_t data) override { routes_.route(gsi_, address, data); }

  private:
    InterruptRoutes& routes_;
    const uint32_t gsi_;
    EventfdIrqLine line_;
};

std::unique_ptr<pci::MessageInterrupt> InterruptRoutes::make_message_interrupt() {
    const std::lock_guard lock{mutex_};
    const auto free = std::ranges::find(taken_, false);
    const auto message = static_cast<size_t>(free - taken_.begin());
    if (free == taken_.end()) {
        taken_.push_back(false);
    }
    auto made = std::make_unique<Message>(*this, first_message_ + static_cast<uint32_t>(message));
    taken_[message] = true;
    return made;
}

void InterruptRoutes::release(uint32_t gsi) {
    const std::lock_guard lock{mutex_};
    taken_[gsi - first_message_] = false;
    std::erase_if(entries_, [gsi](const kvm_irq_routing_entry& entry) { return entry.gsi == gsi; });
}

void InterruptRoutes::forget_destroyed() {
    const std::lock_guard lock{mutex_};
    try {
        set_table();
    } catch (const Error& error) {
        log_warning(std::string{"routes of a device that is gone are kept: "} + error.what());
    }
}

void InterruptRoutes::set_table() {
    CountedList<kvm_irq_routing_entry> list{entries_};
    vm_.request(kRequest, list.data(), "KVM_SET_GSI_ROUTING");
}

void InterruptRoutes::route(uint32_t gsi, uint64_t address, uint32_t data) {
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<uint32_t>(address);
    entry.u.msi.address_hi = static_cast<uint32_t>(address >> 32);
    entry.u.msi.data = data;

    const std::lock_guard lock{mutex_};
    const auto known = std::ranges::find(entries_, gsi, &kvm_irq_routing_entry::gsi);
    known == entries_.end() ? entries_.push_back(entry) : static_cast<void>(*known = entry);
    try {
        set_table();
    } catch (const Error& error) {
        // What a guest wrote into its table must not end the machine; without its old route it is as if
        // masked.
        std::erase_if(entries_, [gsi](const kvm_irq_routing_entry& other) { return other.gsi == gsi; });
        log_.warning(std::string{"a device's interrupt goes nowhere: "} + error.what());
    }
}

}  // namespace hull
