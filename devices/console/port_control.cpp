#include "devices/console/port_control.h"

#include <linux/virtio_console.h>

#include <algorithm>
#include <utility>

#include "base/unique_fd.h"

namespace hull::virtio {

using Message = virtio_console_control;

void PortControl::fail(const char* why) {
    if (!std::exchange(broken_, true)) {
        sides_.driver.needs_reset(why);
    }
}

bool PortControl::turn() {
    take_messages();
    send_messages();
    return !broken_;
}

void PortControl::take_messages() {
    VirtQueue& queue = sides_.transmit.queue;
    queue.hold_kicks();
    more_ = false;
    for (uint16_t count = 0; !broken_; ++count) {
        if (count == queue.size()) {
            more_ = true;  // others get their turn
            break;
        }
        auto chain = queue.pop();
        if (!chain) {
            fail(chain.error().what);
            break;
        }
        if (!*chain) {
            if (!queue.ask_for_kicks()) {
                break;
            }
            queue.hold_kicks();
            continue;
        }
        if (const auto message = (*chain)->reader().read<Message>()) {
            take(message->id, message->event, message->value);
        }
        queue.push(std::move(**chain), 0);
    }
    if (queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.transmit.index);
    }
}

void PortControl::take(uint32_t id, uint16_t event, uint16_t value) {
    const bool yes = value == 1;
    if (event == VIRTIO_CONSOLE_DEVICE_READY) {
        for (const Port& port : ports_) {
            port.queues->set_guest_open(false);
            port.queues->state() = {.tell_of_it = yes};
        }
        return;
    }
    const auto found = std::ranges::find(ports_, id, &Port::id);
    if (found == ports_.end()) {
        return;
    }
    PortState& state = found->queues->state();
    if (event == VIRTIO_CONSOLE_PORT_READY) {
        state.is_ready = yes;
        state.tell_name = yes;
        state.told_open = false;
    } else if (event == VIRTIO_CONSOLE_PORT_OPEN && state.is_ready) {
        found->queues->set_guest_open(yes);
    }
}

void PortControl::send_messages() {
    starved_ = false;
    for (const Port& port : ports_) {
        PortState& state = port.queues->state();
        if (state.tell_of_it && send(port, VIRTIO_CONSOLE_PORT_ADD, 1)) {
            state.tell_of_it = false;
        }
        if (state.tell_name && send(port, VIRTIO_CONSOLE_PORT_NAME, 1, port.name)) {
            state.tell_name = false;
        }
        const bool open = port.queues->host().is_open();
        if (state.is_ready && !state.tell_name && open != state.told_open &&
            send(port, VIRTIO_CONSOLE_PORT_OPEN, open ? 1 : 0)) {
            state.told_open = open;
        }
    }
    if (sides_.receive.queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.receive.index);
    }
}

bool PortControl::send(const Port& port, uint16_t event, uint16_t value, std::string_view text) {
    if (starved_ || broken_) {
        return false;
    }
    VirtQueue& queue = sides_.receive.queue;
    queue.hold_kicks();
    for (;;) {
        auto chain = queue.pop();
        if (!chain) {
            fail(chain.error().what);
            return false;
        }
        if (!*chain) {
            if (queue.ask_for_kicks()) {
                continue;
            }
            starved_ = true;
            return false;
        }
        ChainWriter writer = (*chain)->writer();
        if (!writer.write(Message{.id = port.id, .event = event, .value = value}) ||
            !writer.write_bytes(std::as_bytes(std::span{text}))) {
            fail("a buffer for control messages is too small");
            return false;
        }
        queue.push(std::move(**chain), static_cast<uint32_t>(sizeof(Message) + text.size()));
        return true;
    }
}

PortControl::Waits PortControl::waits() const {
    return {pollfd{sides_.transmit.kick_fd, POLLIN, 0},
            pollfd{starved_ ? sides_.receive.kick_fd : -1, POLLIN, 0}};
}

void PortControl::take_events(const Waits& waits) const {
    for (const pollfd& wait : waits) {
        if (wait.revents != 0) {
            drain_eventfd(wait.fd);
        }
    }
}

}  // namespace hull::virtio
