// All queues of a console device, on one thread.
#pragma once

#include <poll.h>

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/console/port_control.h"
#include "devices/console/port_host.h"
#include "devices/console/port_queues.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// A port that the guest finds by its name.
struct NamedPort {
    std::string name;  ///< at most kMostPortName bytes
    PortHost& host;
};
/// VIRTIO 1.2 says nothing of it; what programs use has up to 25 or so.
inline constexpr size_t kMostPortName = 64;

/// Serves the queues in turns, so that no port waits for another.
class ConsoleQueues {
  public:
    /// Which queues there are (5.3.2). `activation` is kept, and its queues may be any.
    /// For one console, and a driver that knows of no more and so never says that it has it open. Linux's
    /// drops what comes before it is up: input waits until `driver_is_up` (an eventfd) is readable, or until
    /// nothing has happened for kQuiet after the first output; or does not where `state` says that the guest
    /// reads. Here and below the states outlive this object, and what is known of a port stays there.
    ConsoleQueues(Activation activation, PortHost& console, PortState& state, int driver_is_up);
    static constexpr std::chrono::milliseconds kQuiet{1000};
    /// For named ports, with the numbers from 1 on; port 0 is not there. `ports` must outlive this object, and
    /// there is a state for each.
    ConsoleQueues(Activation activation, std::span<const NamedPort> ports, std::span<PortState> states);

    /// Serves until `stop_fd` is readable, or a queue breaks, which the driver is told.
    void serve(int stop_fd);
    /// One part of serve(): what there is to do at once, in turns. False where a queue is broken.
    [[nodiscard]] bool turn();
    /// The other part: waits for something to do, or for `stop_fd`, for which it answers false.
    [[nodiscard]] bool wait(int stop_fd);

    /// After serve(), before the queues go: has each host keep what it has not taken yet, as
    /// PortQueues::keep_rest() does, up to kMostKept bytes in all.
    void keep_rest(PortQueues::Rest which);
    static constexpr size_t kMostKept = size_t{16} << 20;

  private:
    void add_port(uint16_t first_queue, PortHost& host, PortState& state);
    [[nodiscard]] ActiveQueue* queue(uint16_t index);
    [[nodiscard]] bool may_let_next_in(size_t number) const;
    /// In milliseconds; -1 is for ever.
    [[nodiscard]] int patience() const;

    Activation activation_;
    std::vector<std::unique_ptr<PortQueues>> ports_;
    std::optional<PortControl> control_;
    int driver_is_up_ = -1;  // -1 once it is
    bool broken_ = false;
    std::vector<pollfd> polled_;
};

}  // namespace hull::virtio
