// What every virtio device is to a transport, and the other way round.
#pragma once

#include <linux/virtio_config.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/guest_memory.h"
#include "base/state.h"
#include "devices/virtio/queue.h"
#include "devices/virtio/ring_layout.h"

namespace hull::virtio {

/// How a device calls its driver. Any thread; a call after the device's reset is harmless.
class DriverCalls {
  public:
    virtual ~DriverCalls() = default;
    /// Chains of this queue were given back, and the driver wants to know.
    virtual void used_buffers(uint16_t queue) = 0;
    /// The device's configuration space has changed.
    virtual void configuration_changed() = 0;
    /// The driver broke a rule, so the device stops until it is reset (VIRTIO 1.2, 2.1.1). `why` is a clause
    /// for the log.
    virtual void needs_reset(const char* why) = 0;
};

/// A queue that the driver has enabled, with what it kicks by.
struct ActiveQueue {
    uint16_t index;
    VirtQueue queue;  ///< may have been used before: see VirtioDevice::stop()
    int kick_fd;      ///< an eventfd, readable after a kick, and perhaps once without; the transport's, open
                      ///< until reset() has returned
};

/// All that a device gets when its driver is ready (DRIVER_OK). The queues that the driver left out are not
/// there.
struct Activation {
    uint64_t features;  ///< negotiated
    std::vector<ActiveQueue> queues;
    GuestMemory& memory;
    DriverCalls& driver;
};

/// What VirtQueue does for every device.
inline constexpr uint64_t kRingFeatures =
    feature(VIRTIO_F_VERSION_1) | feature(VIRTIO_RING_F_EVENT_IDX) | feature(VIRTIO_RING_F_INDIRECT_DESC);

/// A virtio device. It knows no transport. The transport calls one member at a time.
class VirtioDevice {
  public:
    virtual ~VirtioDevice() = default;

    /// VIRTIO 1.2, 5: the device's ID.
    [[nodiscard]] virtual uint32_t type() const = 0;
    /// What it offers beside ring_features().
    [[nodiscard]] virtual uint64_t features() const = 0;
    /// What whoever serves its queues can do: VIRTIO_F_VERSION_1 and both features of the ring, but for a
    /// device whose queues another program serves.
    [[nodiscard]] virtual uint64_t ring_features() const { return kRingFeatures; }
    /// The most entries of each queue; how many there are is how many queues it has.
    [[nodiscard]] virtual std::span<const uint16_t> queue_sizes() const = 0;
    /// Fills `data` from the configuration space at `offset`; bytes beyond it are left as they are (zeros).
    virtual void read_configuration(uint64_t offset, std::span<std::byte> data) const = 0;
    /// Takes what the driver wrote; what is beyond the space or read-only is ignored.
    virtual void write_configuration(uint64_t offset, std::span<const std::byte> data) = 0;
    /// Called once, before all that follows: gets what will serve, since that cannot be had once the guest
    /// runs. By number, `kick_fds` has what each queue will be kicked by, which is open until after the last
    /// reset(). Throws Error where the host has no room for it.
    virtual void prepare(std::span<const int> /*kick_fds*/) {}
    /// Starts to serve. Called once after the start, a reset() or a stop(). What is in a queue already may
    /// have been kicked for before. Where it throws it is not active.
    virtual void activate(Activation activation) = 0;
    /// As reset(), but keeps what the driver has set otherwise, since activate() comes next, with the same
    /// features and all or some of the queues. Chains that were taken are given back by then, or are those
    /// that were taken last: the queue has them again.
    virtual void stop() { reset(); }
    /// What it keeps over a stop(), and what the driver may not find changed; called before the first
    /// activate() or behind a stop(). As Stateful's.
    virtual void save(StateWriter& /*state*/) const {}
    virtual void load(StateReader& /*state*/) {}
    /// Stops; once it has returned, the device touches guest memory and queues no more. Harmless where it was
    /// not active.
    virtual void reset() = 0;
};

}  // namespace hull::virtio
