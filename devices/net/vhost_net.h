// The host's kernel serves a network device's queues (Linux drivers/vhost/net.c, linux/vhost.h).
#pragma once

#include <cstdint>
#include <optional>

#include "base/guest_memory.h"
#include "base/unique_fd.h"
#include "devices/virtio/device.h"
#include "devices/virtio/ring_layout.h"  // what linux/vhost.h includes, made fit for C++

namespace hull::virtio {

/// Opens /dev/vhost-net. Nothing where the host has no such thing, it is not this user's, or it lacks a
/// feature that Net or VirtQueue offers.
std::optional<UniqueFd> open_vhost_net();

/// One pair of queues in the kernel's hands, from start() on. One thread.
class VhostNet {
  public:
    /// `fd` comes from open_vhost_net().
    explicit VhostNet(UniqueFd fd) : fd_{std::move(fd)} {}

    /// Hands over both queues, of a driver that negotiated `features`, with the tap device's queue `link_fd`
    /// at the other side. Where what is written is logged, the kernel logs it too. False, with nothing handed
    /// over, where the kernel refuses.
    [[nodiscard]] bool start(const GuestMemory& memory, uint64_t features, const ActiveQueue& receive,
                             const ActiveQueue& transmit, int link_fd);
    /// Takes them back; once it has returned, the kernel touches neither. Harmless where it has none.
    void stop();
    /// Tells the driver of what the kernel gave back, until `stop_fd` is readable.
    void relay_calls(int stop_fd, DriverCalls& driver, const ActiveQueue& receive,
                     const ActiveQueue& transmit) const;

  private:
    [[nodiscard]] bool set_memory(const GuestMemory& memory) const;
    [[nodiscard]] bool hand_over(unsigned index, const GuestMemory& memory, const ActiveQueue& queue,
                                 int call_fd, int link_fd) const;

    UniqueFd fd_;
    UniqueFd receive_call_ = make_eventfd();
    UniqueFd transmit_call_ = make_eventfd();
    bool is_owner_ = false;
};

}  // namespace hull::virtio
