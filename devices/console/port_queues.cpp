#include "devices/console/port_queues.h"

#include <algorithm>
#include <utility>

#include "base/unique_fd.h"

namespace hull::virtio {

void PortQueues::fail(const char* why) {
    if (!std::exchange(broken_, true)) {
        sides_.driver.needs_reset(why);
    }
}

std::optional<DescriptorChain> PortQueues::pop(VirtQueue& queue) {
    auto chain = queue.pop();
    if (!chain) {
        fail(chain.error().what);
        return std::nullopt;
    }
    return std::move(*chain);
}

void PortQueues::set_guest_open(bool open) {
    state_.guest_is_open = open;
    look_for_input_ = true;
}

bool PortQueues::turn() {
    if (look_for_output_) {
        transmit(kTurn);
    }
    if (look_for_input_) {
        receive(kTurn);
    }
    // What waited for somebody who has left since then is not for the next one.
    look_for_output_ = look_for_output_ || (output_waits() && !sides_.host.is_open());
    return !broken_;
}

// Answers how many bytes; the chain is done where segment_ is behind its last one.
size_t PortQueues::send(size_t most) {
    const std::span<const iovec> segments = unsent_->readable();
    size_t sent = 0;
    while (segment_ < segments.size() && sent < most) {
        const std::span<const std::byte> bytes{static_cast<const std::byte*>(segments[segment_].iov_base),
                                               segments[segment_].iov_len};
        const auto part = bytes.subspan(offset_, std::min(bytes.size() - offset_, most - sent));
        const size_t taken = sides_.host.is_open() ? sides_.host.write(part) : part.size();
        sent += taken;
        offset_ += taken;
        if (offset_ == bytes.size()) {
            ++segment_;
            offset_ = 0;
        }
        if (taken < part.size()) {
            look_for_output_ = false;  // until the host has room
            break;
        }
    }
    return sent;
}

void PortQueues::transmit(size_t most) {
    if (!sides_.host.write_kept()) {
        look_for_output_ = false;  // until the host has room
        return;
    }
    VirtQueue& queue = sides_.transmit.queue;
    queue.hold_kicks();
    look_for_output_ = true;
    size_t sent = 0;
    // Chains are counted too: a driver that sends empty ones must not keep its reset from being done.
    for (size_t chains = 0; !broken_ && chains < queue.size() && sent < most;) {
        if (!unsent_) {
            unsent_ = pop(queue);
            has_sent_ = has_sent_ || unsent_;
            segment_ = 0;
            offset_ = 0;
        }
        if (!unsent_) {
            if (broken_ || !queue.ask_for_kicks()) {
                look_for_output_ = false;
                break;
            }
            queue.hold_kicks();
            continue;
        }
        sent += send(most - sent);
        if (segment_ < unsent_->readable().size()) {
            break;
        }
        queue.push(std::move(*unsent_), 0);
        unsent_.reset();
        ++chains;
    }
    if (queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.transmit.index);
    }
}

size_t PortQueues::keep_rest(Rest which, size_t most) {
    size_t kept = 0;
    // Of a chain that was not begun the queue has all.
    const uint16_t chains = which == Rest::all                          ? sides_.transmit.queue.size()
                            : unsent_ && (segment_ > 0 || offset_ > 0) ? uint16_t{1}
                                                                       : uint16_t{0};
    for (uint16_t count = 0; !broken_ && count < chains && kept < most; ++count) {
        if (!unsent_) {
            unsent_ = pop(sides_.transmit.queue);
            segment_ = 0;
            offset_ = 0;
        }
        if (!unsent_) {
            break;
        }
        for (const iovec& segment : unsent_->readable().subspan(segment_)) {
            const std::span<const std::byte> bytes{static_cast<const std::byte*>(segment.iov_base),
                                                   segment.iov_len};
            const auto rest = bytes.subspan(offset_);
            const auto part = rest.first(std::min(rest.size(), most - kept));
            sides_.host.keep(part);
            kept += part.size();
            offset_ = 0;
        }
        sides_.transmit.queue.push(std::move(*unsent_), 0);
        unsent_.reset();
    }
    sides_.host.write_kept();
    return kept;
}

void PortQueues::receive(size_t most) {
    look_for_input_ = false;
    if (!state_.guest_is_open || broken_) {
        return;
    }
    VirtQueue& queue = sides_.receive.queue;
    queue.hold_kicks();
    starved_ = false;
    for (size_t received = 0; !broken_;) {
        if (received >= most) {
            look_for_input_ = true;
            break;
        }
        if (!buffer_) {
            buffer_ = pop(queue);
        }
        if (!buffer_) {
            if (broken_ || !queue.ask_for_kicks()) {
                starved_ = true;
                break;
            }
            queue.hold_kicks();
            continue;
        }
        if (buffer_->writable_size() == 0) {
            fail("a buffer for input has no room");
            break;
        }
        size_t filled = 0;
        for (const iovec& segment : buffer_->writable()) {
            const size_t got = sides_.host.read({static_cast<std::byte*>(segment.iov_base), segment.iov_len});
            filled += got;
            if (got < segment.iov_len) {
                break;
            }
        }
        if (filled == 0) {
            break;
        }
        received += filled;
        queue.push(std::move(*buffer_), static_cast<uint32_t>(filled));
        buffer_.reset();
    }
    if (queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.receive.index);
    }
}

PortQueues::Waits PortQueues::waits(bool next) const {
    const PortHost::Waits host =
        sides_.host.waits({.input = state_.guest_is_open && !starved_, .output = output_waits(), .next = next});
    return {pollfd{output_waits() ? -1 : sides_.transmit.kick_fd, POLLIN, 0},
            pollfd{starved_ ? sides_.receive.kick_fd : -1, POLLIN, 0}, host[0], host[1]};
}

void PortQueues::take_events(const Waits& waits) {
    if (waits[kTransmitKick].revents != 0) {
        drain_eventfd(sides_.transmit.kick_fd);
        look_for_output_ = true;
    }
    if (waits[kReceiveKick].revents != 0) {
        drain_eventfd(sides_.receive.kick_fd);
        look_for_input_ = true;
    }
    if (waits[kHost].revents != 0 || waits[kHost + 1].revents != 0) {
        sides_.host.take_events({waits[kHost], waits[kHost + 1]});
        look_for_output_ = look_for_output_ || output_waits();
        look_for_input_ = true;
    }
}

}  // namespace hull::virtio
