// The reset line of the PC's keyboard controller, which kernels without ACPI pull to restart the machine.
#pragma once

#include "devices/bus/bus.h"
#include "devices/legacy/guest_request.h"

namespace hull {

/// Answers at ports 0x60 to 0x64 as a controller that is always ready and has neither keyboard nor mouse; the
/// command 0xfe ("pulse the reset line") asks for a reset. Any thread.
class I8042 final : public BusDevice {
  public:
    static constexpr uint64_t kFirstPort = 0x60;
    static constexpr uint64_t kPorts = 5;

    explicit I8042(GuestRequestHandler on_request);

    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

  private:
    const GuestRequestHandler on_request_;
};

}  // namespace hull
