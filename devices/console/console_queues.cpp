#include "devices/console/console_queues.h"

#include <algorithm>
#include <utility>

namespace hull::virtio {

namespace {

// 5.3.2: port 0 has the first two queues, then come those for control, then two for each further port.
constexpr uint16_t kControlReceive = 2;
constexpr uint16_t kControlTransmit = 3;

}  // namespace

ConsoleQueues::ConsoleQueues(Activation activation, PortHost& console, PortState& state, int driver_is_up)
    : activation_{std::move(activation)}, driver_is_up_{state.guest_is_open ? -1 : driver_is_up} {
    add_port(0, console, state);
}

ConsoleQueues::ConsoleQueues(Activation activation, std::span<const NamedPort> ports,
                             std::span<PortState> states)
    : activation_{std::move(activation)} {
    std::vector<PortControl::Port> named;
    uint16_t number = 0;
    for (const NamedPort& port : ports) {
        ++number;
        const size_t before = ports_.size();
        add_port(static_cast<uint16_t>(2 + 2 * number), port.host, states[number - 1]);
        if (ports_.size() > before) {
            named.push_back({.id = number, .name = port.name, .queues = ports_.back().get()});
        }
    }
    ActiveQueue* receive = queue(kControlReceive);
    ActiveQueue* transmit = queue(kControlTransmit);
    if (receive != nullptr && transmit != nullptr) {
        control_.emplace(
            PortControl::Sides{.receive = *receive, .transmit = *transmit, .driver = activation_.driver},
            std::move(named));
    }
}

ActiveQueue* ConsoleQueues::queue(uint16_t index) {
    const auto found = std::ranges::find(activation_.queues, index, &ActiveQueue::index);
    return found == activation_.queues.end() ? nullptr : &*found;
}

// Nothing is added where the driver has left one of its queues out.
void ConsoleQueues::add_port(uint16_t first_queue, PortHost& host, PortState& state) {
    ActiveQueue* receive = queue(first_queue);
    ActiveQueue* transmit = queue(static_cast<uint16_t>(first_queue + 1));
    if (receive != nullptr && transmit != nullptr) {
        ports_.push_back(std::make_unique<PortQueues>(
            PortQueues::Sides{
                .receive = *receive, .transmit = *transmit, .driver = activation_.driver, .host = host},
            state));
    }
}

bool ConsoleQueues::may_let_next_in(size_t number) const {
    return control_ && control_->may_let_next_in(number);
}

bool ConsoleQueues::turn() {
    // The control queues last: they tell of who has come and gone in the ports' turn.
    for (const auto& port : ports_) {
        broken_ = broken_ || !port->turn();
    }
    broken_ = broken_ || (control_ && !control_->turn());
    return !broken_;
}

int ConsoleQueues::patience() const {
    if ((control_ && control_->has_more()) ||
        std::ranges::any_of(ports_, [](const auto& port) { return port->has_more(); })) {
        return 0;
    }
    const bool driver_may_be_up =
        driver_is_up_ >= 0 && std::ranges::any_of(ports_, [](const auto& port) { return port->has_sent(); });
    return driver_may_be_up ? static_cast<int>(kQuiet.count()) : -1;
}

bool ConsoleQueues::wait(int stop_fd) {
    polled_.assign({{stop_fd, POLLIN, 0}, {driver_is_up_, POLLIN, 0}});
    for (size_t number = 0; number < ports_.size(); ++number) {
        const auto waits = ports_[number]->waits(may_let_next_in(number));
        polled_.insert(polled_.end(), waits.begin(), waits.end());
    }
    if (control_) {
        const auto waits = control_->waits();
        polled_.insert(polled_.end(), waits.begin(), waits.end());
    }
    const int timeout = patience();
    const int ready = poll(polled_.data(), polled_.size(), timeout);
    if (ready < 0) {
        return true;
    }
    if (polled_[0].revents != 0) {
        return false;
    }
    if (driver_is_up_ >= 0 && (polled_[1].revents != 0 || (ready == 0 && timeout > 0))) {
        driver_is_up_ = -1;
        std::ranges::for_each(ports_, [](const auto& port) { port->set_guest_open(true); });
    }
    auto at = polled_.begin() + 2;
    for (const auto& port : ports_) {
        PortQueues::Waits waits{};
        std::copy_n(at, waits.size(), waits.begin());
        port->take_events(waits);
        at += static_cast<ptrdiff_t>(waits.size());
    }
    if (control_) {
        PortControl::Waits waits{};
        std::copy_n(at, waits.size(), waits.begin());
        control_->take_events(waits);
    }
    return true;
}

void ConsoleQueues::serve(int stop_fd) {
    while (turn() && wait(stop_fd)) {
    }
}

void ConsoleQueues::keep_rest(PortQueues::Rest which) {
    size_t left = kMostKept;
    for (const auto& port : ports_) {
        left -= port->keep_rest(which, left);
    }
}

}  // namespace hull::virtio
