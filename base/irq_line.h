// How a device calls the guest, whatever carries the call.
#pragma once

#include "base/unique_fd.h"

namespace hull {

/// One edge-triggered interrupt. Any thread may trigger it.
class IrqLine {
  public:
    virtual ~IrqLine() = default;
    virtual void trigger() = 0;
};

/// An interrupt that an eventfd carries: KVM's irqfd has the other end.
class EventfdIrqLine final : public IrqLine {
  public:
    EventfdIrqLine() : eventfd_{make_eventfd()} {}
    void trigger() override { signal_eventfd(eventfd_.get()); }
    /// The descriptor to give to KVM_IRQFD; stays this object's.
    [[nodiscard]] int fd() const { return eventfd_.get(); }

  private:
    UniqueFd eventfd_;
};

}  // namespace hull
