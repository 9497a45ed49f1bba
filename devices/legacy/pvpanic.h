// pvpanic: the guest's kernel tells that it has panicked (QEMU, docs/specs/pvpanic).
#pragma once

#include "devices/bus/bus.h"
#include "devices/legacy/guest_request.h"

namespace hull {

/// One byte. Reading tells which events are understood; writing an event tells that it happened. Any thread.
class Pvpanic final : public BusDevice {
  public:
    static constexpr uint64_t kSize = 2;  ///< what Linux's driver expects to map at least

    explicit Pvpanic(GuestRequestHandler on_request);

    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

  private:
    const GuestRequestHandler on_request_;
};

}  // namespace hull
