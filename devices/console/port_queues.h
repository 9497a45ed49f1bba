// The two queues of a port of virtio-console (VIRTIO 1.2, 5.3.6): bytes to the guest and from it.
#pragma once

#include <poll.h>

#include <array>
#include <cstddef>
#include <optional>

#include "devices/console/port_host.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// What is known of a port while its queues come and go. Of a console, which has no control queues, the first
/// alone.
struct PortState {
    bool guest_is_open = false;  ///< the guest reads
    bool tell_of_it = false;     ///< the driver is ready to learn of the port
    bool tell_name = false;      ///< the driver is to learn its name
    bool is_ready = false;       ///< the driver has it
    bool told_open = false;      ///< whether somebody is at the host's side, as the driver knows it
};

/// Carries bytes between the driver's queues and a port's host, on one thread. What either side has no room
/// for waits, and nothing else does.
class PortQueues {
  public:
    struct Sides {
        ActiveQueue& receive;   ///< receiveq: buffers for bytes to the guest
        ActiveQueue& transmit;  ///< transmitq: bytes from the guest
        DriverCalls& driver;
        PortHost& host;
    };
    /// The most bytes in one direction before others get their turn.
    static constexpr size_t kTurn = size_t{256} << 10;

    /// `state` must outlive this object.
    PortQueues(const Sides& sides, PortState& state) : sides_{sides}, state_{state} {}

    [[nodiscard]] PortState& state() const { return state_; }

    /// Whether the guest has sent anything yet.
    [[nodiscard]] bool has_sent() const { return has_sent_; }
    /// What comes from the host waits until the guest has the port open.
    void set_guest_open(bool open);
    [[nodiscard]] PortHost& host() const { return sides_.host; }

    /// Carries what there is to carry, up to kTurn in either direction. False where the driver broke a rule,
    /// of which it is told: then the queues are not to be used any more.
    [[nodiscard]] bool turn();
    /// Whether there is more to do at once.
    [[nodiscard]] bool has_more() const { return look_for_output_ || look_for_input_; }
    /// Of what the guest has sent, up to `most` bytes.
    void transmit(size_t most);
    /// The last that is done before the queues go: has the host keep what it has not taken yet, up to `most`
    /// bytes, and answers how many these are. Of the chain that it has taken a part of, or of all that the
    /// guest has sent.
    enum class Rest { begun, all };
    size_t keep_rest(Rest which, size_t most);

    /// What the next turn is to be waited for, beside has_more(): to be polled, and given back. `next`:
    /// whether somebody new may come to the host's side.
    using Waits = std::array<pollfd, 4>;
    [[nodiscard]] Waits waits(bool next) const;
    void take_events(const Waits& waits);

  private:
    enum { kTransmitKick, kReceiveKick, kHost };  // in Waits

    [[nodiscard]] bool output_waits() const { return unsent_ || sides_.host.kept_size() > 0; }
    [[nodiscard]] size_t send(size_t most);
    void receive(size_t most);
    [[nodiscard]] std::optional<DescriptorChain> pop(VirtQueue& queue);
    void fail(const char* why);

    Sides sides_;
    PortState& state_;
    bool has_sent_ = false;
    bool broken_ = false;
    bool look_for_output_ = true;
    bool look_for_input_ = true;
    bool starved_ = false;                   // no buffer to receive into
    std::optional<DescriptorChain> buffer_;  // taken from the receive queue and not filled yet
    std::optional<DescriptorChain> unsent_;  // what the host has not taken all of:
    size_t segment_ = 0;                     // up to this one
    size_t offset_ = 0;                      // and so far into it
};

}  // namespace hull::virtio
