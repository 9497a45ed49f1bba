// How driver and device speak of ports (VIRTIO 1.2, 5.3.6.2).
#pragma once

#include <poll.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/console/port_queues.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// Tells the driver which ports there are, what their names are, and whether somebody is at the host's side;
/// and learns from it which ones it has open. What is to be told is kept as the state of each port, so a
/// driver that gives no buffers for it costs nothing. One thread.
class PortControl {
  public:
    struct Port {
        uint32_t id;
        std::string name;
        PortQueues* queues;
    };
    struct Sides {
        ActiveQueue& receive;   ///< control receiveq: buffers for messages to the driver
        ActiveQueue& transmit;  ///< control transmitq: messages from the driver
        DriverCalls& driver;
    };

    PortControl(const Sides& sides, std::vector<Port> ports) : sides_{sides}, ports_{std::move(ports)} {}

    /// Takes and sends the messages that there are. False where the driver broke a rule, of which it is told.
    [[nodiscard]] bool turn();
    /// Whether there is more to do at once.
    [[nodiscard]] bool has_more() const { return more_; }
    /// Whether somebody new may come to the host's side of a port: not before the driver knows that who was
    /// there has left. `number` is that of the port in the list.
    [[nodiscard]] bool may_let_next_in(size_t number) const { return !ports_[number].queues->state().told_open; }

    /// As PortQueues has them.
    using Waits = std::array<pollfd, 2>;
    [[nodiscard]] Waits waits() const;
    void take_events(const Waits& waits) const;

  private:
    void take_messages();
    void take(uint32_t id, uint16_t event, uint16_t value);
    void send_messages();
    [[nodiscard]] bool send(const Port& port, uint16_t event, uint16_t value, std::string_view text = {});
    void fail(const char* why);

    Sides sides_;
    std::vector<Port> ports_;
    bool broken_ = false;
    bool more_ = false;
    bool starved_ = false;  // no buffer for a message
};

}  // namespace hull::virtio
