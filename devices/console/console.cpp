#include "devices/console/console.h"

#include <linux/virtio_console.h>

#include <algorithm>
#include <utility>

namespace hull::virtio {

Console::Console(PortHost& host, std::optional<ConsoleSize> size)
    : console_{&host},
      has_size_{size.has_value()},
      queue_sizes_(2, kQueueSize),
      size_{size.value_or(ConsoleSize{})},
      states_(1) {}

Console::Console(std::vector<NamedPort> ports)
    : console_{nullptr},
      ports_{std::move(ports)},
      has_size_{false},
      queue_sizes_(2 * (2 + ports_.size()), kQueueSize),  // of port 0, for control, and of each port
      size_{ConsoleSize{}},
      states_(ports_.size()) {}

uint32_t Console::type() const {
    return VIRTIO_ID_CONSOLE;
}

uint64_t Console::features() const {
    return feature(VIRTIO_F_RING_RESET) | (has_size_ ? feature(VIRTIO_CONSOLE_F_SIZE) : 0) |
           (console_ == nullptr ? feature(VIRTIO_CONSOLE_F_MULTIPORT) : 0);
}

void Console::read_configuration(uint64_t offset, std::span<std::byte> data) const {
    const ConsoleSize size = size_;
    virtio_console_config config{};
    config.cols = size.columns;
    config.rows = size.rows;
    config.max_nr_ports = static_cast<uint32_t>(ports_.size() + 1);  // port 0 counts
    const auto bytes = std::as_bytes(std::span{&config, 1});
    if (driver_ != nullptr) {
        signal_eventfd(driver_is_up_.get());
    }
    if (offset < bytes.size()) {
        std::ranges::copy(bytes.subspan(offset, std::min(data.size(), bytes.size() - offset)), data.begin());
    }
}

void Console::activate(Activation activation) {
    const bool named = (activation.features & feature(VIRTIO_CONSOLE_F_MULTIPORT)) != 0;
    if (console_ != nullptr) {
        // Linux's driver reads the size when it is told of a new one, which it takes note of once it is up.
        worker_.call([this] {
            if (is_readable(driver_is_up_.get())) {
                drain_eventfd(driver_is_up_.get());  // what the last driver did
            }
        });
        driver_ = &activation.driver;
        queues_.emplace(std::move(activation), *console_, states_.front(), driver_is_up_.get());
        driver_.load()->configuration_changed();
    } else if (named) {
        queues_.emplace(std::move(activation), std::span{ports_}, std::span{states_});
    } else {
        return;  // the driver knows of no port but 0, which is not there
    }
    worker_.start([this](int stop_fd) { queues_->serve(stop_fd); });
}

void Console::leave_queues(PortQueues::Rest which) {
    driver_ = nullptr;
    worker_.stop();
    if (queues_) {
        worker_.call([this, which] { queues_->keep_rest(which); });  // which offers it to the hosts first
    }
    queues_.reset();
}

void Console::stop() {
    leave_queues(PortQueues::Rest::begun);
}

void Console::reset() {
    leave_queues(PortQueues::Rest::all);
    std::ranges::fill(states_, PortState{});
}

void Console::save(StateWriter& state) const {
    state.put(static_cast<uint16_t>(states_.size()));
    for (const PortState& port : states_) {
        for (const bool value :
             {port.guest_is_open, port.tell_of_it, port.tell_name, port.is_ready, port.told_open}) {
            state.put(value);
        }
    }
    for (const NamedPort& port : ports_) {
        state.put_bytes(std::as_bytes(std::span{port.name}));
    }
}

void Console::load(StateReader& state) {
    state.require(state.get<uint16_t>() == states_.size(), "it has another number of ports");
    for (PortState& port : states_) {
        for (bool* value :
             {&port.guest_is_open, &port.tell_of_it, &port.tell_name, &port.is_ready, &port.told_open}) {
            *value = state.get<bool>();
        }
    }
    for (const NamedPort& port : ports_) {
        state.require(std::ranges::equal(state.get_bytes(), std::as_bytes(std::span{port.name})),
                      "its ports have other names");
    }
}

void Console::resize(ConsoleSize size) {
    if (!has_size_) {
        return;
    }
    size_ = size;
    // A call after the reset is harmless: what is called outlives this device's use.
    if (DriverCalls* driver = driver_; driver != nullptr) {
        driver->configuration_changed();
    }
}

void Console::finish() {
    constexpr int kPatience = 1000;  // milliseconds
    reset();
    std::vector<PortHost*> hosts;
    if (console_ != nullptr) {
        hosts.push_back(console_);
    }
    for (const NamedPort& port : ports_) {
        hosts.push_back(&port.host);
    }
    for (;;) {
        std::erase_if(hosts, [](PortHost* host) { return host->write_kept(); });
        std::vector<pollfd> polled;
        for (const PortHost* host : hosts) {
            const PortHost::Waits waits = host->waits({.output = true});
            polled.insert(polled.end(), waits.begin(), waits.end());
        }
        if (hosts.empty() || poll(polled.data(), polled.size(), kPatience) == 0) {
            return;
        }
        for (size_t number = 0; number < hosts.size(); ++number) {
            hosts[number]->take_events({polled[2 * number], polled[2 * number + 1]});
        }
    }
}

}  // namespace hull::virtio
