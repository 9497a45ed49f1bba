#include "devices/net/net_queues.h"

#include <limits.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/unique_fd.h"
#include "devices/net/layout.h"

namespace hull::virtio {

namespace {

using Header = virtio_net_hdr_v1;
constexpr size_t kFrameRoom = sizeof(Header) + NetQueues::kMostFrame;
/// Frames in one direction before the other gets its turn.
constexpr int kBatch = 64;

/// Takes the first `count` bytes off the segments.
void skip(std::vector<iovec>& segments, size_t count) {
    auto at = segments.begin();
    for (; at != segments.end() && count >= at->iov_len; ++at) {
        count -= at->iov_len;
    }
    segments.erase(segments.begin(), at);
    if (!segments.empty()) {
        segments.front().iov_base = static_cast<std::byte*>(segments.front().iov_base) + count;
        segments.front().iov_len -= count;
    }
}

}  // namespace

NetQueues::NetQueues(const Sides& sides) : sides_{sides} {}

void NetQueues::fail(const char* why) {
    if (!std::exchange(broken_, true)) {
        sides_.driver.needs_reset(why);
    }
}

bool NetQueues::take_buffer() {
    auto chain = sides_.receive.queue.pop();
    if (!chain) {
        fail(chain.error().what);
        return false;
    }
    if (!*chain) {
        return false;
    }
    // 5.1.6.3.1: a buffer has room for the header at least.
    if ((*chain)->writable_size() < sizeof(Header)) {
        fail("a buffer for received frames has no room for their header");
        return false;
    }
    room_ += (*chain)->writable_size();
    buffers_.push_back(std::move(**chain));
    return true;
}

bool NetQueues::have_buffers() {
    const auto is_enough = [this] { return sides_.merge ? room_ >= kFrameRoom : !buffers_.empty(); };
    while (!is_enough()) {
        if (!take_buffer()) {
            // Nobody looks at the driver's kicks but where there is nothing left at all: most frames are
            // small.
            return !broken_ && !buffers_.empty();
        }
    }
    return true;
}

bool NetQueues::receive_one() {
    if (!have_buffers()) {
        return false;
    }
    // The header is put before the frame last, once it is known how many buffers the frame takes (5.1.6.4).
    Header header{};
    segments_.clear();
    for (const DescriptorChain& buffer : buffers_) {
        segments_.insert(segments_.end(), buffer.writable().begin(), buffer.writable().end());
        if (!sides_.merge) {
            break;
        }
    }
    skip(segments_, sizeof header);
    segments_.insert(segments_.begin(), {&header, sizeof header});
    segments_.resize(std::min<size_t>(segments_.size(), IOV_MAX - 1));
    size_t room = 0;
    for (const iovec& segment : segments_) {
        room += segment.iov_len;
    }
    segments_.push_back({overflow_.data(), overflow_.size()});
    const ssize_t size = readv(sides_.link_fd, segments_.data(), static_cast<int>(segments_.size()));
    if (size <= 0) {
        link_is_gone_ = size == 0 || (errno != EAGAIN && errno != EINTR);
        return false;
    }
    if (static_cast<size_t>(size) <= sizeof header || static_cast<size_t>(size) > room) {
        return true;  // no frame, or one that the guest has no room for: dropped, as on a wire
    }
    // What the other side says of the frame goes to the guest as it is; the count is ours.
    size_t left = static_cast<size_t>(size);
    uint16_t filled = 0;
    for (const DescriptorChain& buffer : buffers_) {
        ++filled;
        if (left <= buffer.writable_size()) {
            break;
        }
        left -= buffer.writable_size();
    }
    header.num_buffers = filled;
    ChainWriter writer = buffers_.front().writer();
    static_cast<void>(writer.write(header));  // it has room: take_buffer()
    deliver(static_cast<size_t>(size));
    return true;
}

void NetQueues::deliver(size_t size) {
    while (size > 0) {
        DescriptorChain buffer = std::move(buffers_.front());
        buffers_.pop_front();
        const size_t part = std::min<size_t>(size, buffer.writable_size());
        size -= part;
        room_ -= buffer.writable_size();
        sides_.receive.queue.stage(std::move(buffer), static_cast<uint32_t>(part));
    }
    sides_.receive.queue.publish();
}

void NetQueues::receive() {
    sides_.receive.queue.hold_kicks();
    starved_ = false;
    for (int frames = 0; frames < kBatch && !broken_ && receive_one(); ++frames) {
    }
    if (!broken_ && buffers_.empty()) {
        // Without a buffer the next kick is waited for; one that came meanwhile makes the next round.
        starved_ = !sides_.receive.queue.ask_for_kicks();
    }
    if (sides_.receive.queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.receive.index);
    }
}

bool NetQueues::send(const DescriptorChain& chain) const {
    const std::span<const iovec> segments = chain.readable();
    if (link_is_gone_ || chain.readable_size() <= sizeof(Header) || chain.readable_size() > kFrameRoom ||
        segments.size() > IOV_MAX) {
        return true;  // no frame, or nobody to get it: dropped
    }
    // What the host does not take for another reason is dropped, as on a wire.
    return writev(sides_.link_fd, segments.data(), static_cast<int>(segments.size())) >= 0 || errno != EAGAIN;
}

void NetQueues::transmit() {
    VirtQueue& queue = sides_.transmit.queue;
    queue.hold_kicks();
    for (int frames = 0; !broken_; ++frames) {
        if (!unsent_) {
            auto chain = queue.pop();
            if (!chain) {
                fail(chain.error().what);
                break;
            }
            unsent_ = std::move(*chain);
        }
        if (!unsent_) {
            if (!queue.ask_for_kicks()) {
                break;
            }
            queue.hold_kicks();
            continue;
        }
        // A driver that never lets the queue run empty must not keep its reset from being done.
        if (frames >= kBatch || !send(*unsent_)) {
            break;
        }
        queue.push(std::move(*unsent_), 0);
        unsent_.reset();
    }
    if (queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.transmit.index);
    }
}

void NetQueues::serve(int stop_fd) {
    enum { kStop, kLink, kTransmitKick, kReceiveKick };
    transmit();
    while (!broken_) {
        std::array<pollfd, 4> waits{};
        waits[kStop] = {stop_fd, POLLIN, 0};
        // A negative descriptor is not looked at.
        const auto link_events = static_cast<short>((starved_ ? 0 : POLLIN) | (unsent_ ? POLLOUT : 0));
        waits[kLink] = {link_events != 0 && !link_is_gone_ ? sides_.link_fd : -1, link_events, 0};
        waits[kTransmitKick] = {unsent_ && !link_is_gone_ ? -1 : sides_.transmit.kick_fd, POLLIN, 0};
        waits[kReceiveKick] = {starved_ ? sides_.receive.kick_fd : -1, POLLIN, 0};
        if (poll(waits.data(), waits.size(), -1) < 0) {
            continue;
        }
        if (waits[kStop].revents != 0) {
            return;
        }
        if (waits[kReceiveKick].revents != 0) {
            drain_eventfd(sides_.receive.kick_fd);
            starved_ = false;
        }
        if (waits[kTransmitKick].revents != 0) {
            drain_eventfd(sides_.transmit.kick_fd);
        }
        if (waits[kTransmitKick].revents != 0 || (waits[kLink].revents & POLLOUT) != 0) {
            transmit();
        }
        if ((waits[kLink].revents & POLLIN) != 0) {
            receive();
        }
        if ((waits[kLink].revents & (POLLERR | POLLHUP)) != 0 && (waits[kLink].revents & POLLIN) == 0) {
            link_is_gone_ = true;  // the guest has a cable without a far end
            transmit();
        }
    }
}

}  // namespace hull::virtio
