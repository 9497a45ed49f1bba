#include "devices/net/net_queues.h"

#include <limits.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/unique_fd.h"
#include "devices/net/layout.h"

namespace hull::virtio {

namespace {

using Header = virtio_net_hdr_v1;
constexpr size_t kFrameRoom = sizeof(Header) + NetQueues::kMostFrame;
/// Frames in one direction before the other gets its turn.
constexpr int kBatch = 64;
/// How often a link that is gone is looked for.
constexpr std::chrono::seconds kLookAgain{1};
/// So many segments of filled buffers are kept before they are cut off together.
constexpr size_t kMostFilled = 1024;
/// Most frames fit into this, and where so many in a row did, the next one is thought to.
constexpr size_t kSmallFrame = 2048;
constexpr int kSmallInARow = 8;

/// poll(2) until something is ready or the shorter of two waits is over, of which none is zero.
int wait(std::span<pollfd> entries, std::chrono::nanoseconds one, std::chrono::nanoseconds other) {
    const auto longest = std::chrono::nanoseconds::max();
    const auto shorter = std::min(one.count() > 0 ? one : longest, other.count() > 0 ? other : longest);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(shorter);
    const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (shorter - seconds).count()};
    return ppoll(entries.data(), entries.size(), shorter == longest ? nullptr : &timeout, nullptr);
}

}  // namespace

NetLimit::NetLimit(uint64_t frames, uint64_t bytes) {
    if (frames != 0) {
        frames_.emplace(frames);
    }
    if (bytes != 0) {
        bytes_.emplace(bytes);
    }
}

std::chrono::nanoseconds NetLimit::wait_time() const {
    return longer_wait(frames_, bytes_);
}

void NetLimit::take(size_t size) {
    if (frames_) {
        frames_->take(1, TokenBucket::Clock::now());
    }
    if (bytes_) {
        bytes_->take(size, TokenBucket::Clock::now());
    }
}

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
    segments_.insert(segments_.end(), (*chain)->writable().begin(), (*chain)->writable().end());
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
    // Straight into the guest's memory, header and all. The system call costs by how many places it is given,
    // so it gets as many as the frame is thought to need; behind them stands a room of ours for what it has
    // more.
    const std::span<iovec> all = std::span{segments_}.subspan(filled_segments_);
    const size_t wanted = small_in_a_row_ < kSmallInARow ? kFrameRoom : kSmallFrame;
    const size_t most =
        std::min<size_t>(sides_.merge ? all.size() : buffers_.front().writable().size(), IOV_MAX - 1);
    size_t count = 0;
    size_t room = 0;
    while (count < most && (room < wanted || !sides_.merge)) {
        room += all[count++].iov_len;
    }
    segments_.emplace_back();
    const iovec next =
        std::exchange(segments_[filled_segments_ + count], {overflow_.data(), overflow_.size()});
    const std::span<const iovec> whole = std::span{segments_}.subspan(filled_segments_, count + 1);
    const ssize_t size = sides_.stream != nullptr
                             ? sides_.stream->receive(whole)
                             : readv(sides_.link_fd, whole.data(), static_cast<int>(whole.size()));
    segments_[filled_segments_ + count] = next;
    segments_.pop_back();
    if (size <= 0) {
        link_is_gone_ = size == 0 || (errno != EAGAIN && errno != EINTR);
        return false;
    }
    small_in_a_row_ =
        static_cast<size_t>(size) > kSmallFrame ? 0 : std::min(small_in_a_row_ + 1, kSmallInARow);
    if (static_cast<size_t>(size) <= sizeof(Header) ||
        static_cast<size_t>(size) > (sides_.merge ? room_ : room)) {
        return true;  // no frame, or one that the guest has no room for: dropped, as on a wire
    }
    if (static_cast<size_t>(size) > room) {
        std::span<const std::byte> rest = std::span{overflow_}.first(static_cast<size_t>(size) - room);
        for (auto place = segments_.begin() + static_cast<ptrdiff_t>(filled_segments_ + count); !rest.empty();
             ++place) {
            const size_t part = std::min(rest.size(), place->iov_len);
            std::memcpy(place->iov_base, rest.data(), part);
            rest = rest.subspan(part);
        }
    }
    sides_.to_guest.take(static_cast<size_t>(size) - sizeof(Header));
    deliver(static_cast<size_t>(size));
    return true;
}

void NetQueues::deliver(size_t size) {
    size_t left = size;
    uint16_t filled = 0;
    for (const DescriptorChain& buffer : buffers_) {
        ++filled;
        if (left <= buffer.writable_size()) {
            break;
        }
        left -= buffer.writable_size();
    }
    // What the other side says of the frame goes to the guest as it is, where that was agreed on (5.1.6.4.1);
    // the count is ours.
    ChainWriter writer = buffers_.front().writer();
    Header header{};
    header.num_buffers = filled;
    const auto bytes = std::as_bytes(std::span{&header, 1});
    const size_t kept = sides_.headers ? offsetof(Header, num_buffers) : 0;
    static_cast<void>(writer.skip(kept) &&
                      writer.write_bytes(bytes.subspan(kept)));  // it has room: take_buffer()
    while (size > 0) {
        DescriptorChain buffer = std::move(buffers_.front());
        buffers_.pop_front();
        const size_t part = std::min<size_t>(size, buffer.writable_size());
        size -= part;
        room_ -= buffer.writable_size();
        filled_segments_ += buffer.writable().size();
        sides_.receive.queue.stage(std::move(buffer), static_cast<uint32_t>(part));
    }
    sides_.receive.queue.publish();
    if (buffers_.empty() || filled_segments_ > kMostFilled) {
        segments_.erase(segments_.begin(), segments_.begin() + static_cast<ptrdiff_t>(filled_segments_));
        filled_segments_ = 0;
    }
}

void NetQueues::receive() {
    sides_.receive.queue.hold_kicks();
    starved_ = false;
    for (int frames = 0;
         frames < kBatch && !broken_ && sides_.to_guest.wait_time().count() == 0 && receive_one(); ++frames) {
    }
    if (!broken_ && buffers_.empty()) {
        // Without a buffer the next kick is waited for; one that came meanwhile makes the next round.
        starved_ = !sides_.receive.queue.ask_for_kicks();
    }
}

bool NetQueues::send(const DescriptorChain& chain) {
    const std::span<const iovec> segments = chain.readable();
    if (link_is_gone_ || chain.readable_size() <= sizeof(Header) || chain.readable_size() > kFrameRoom ||
        segments.size() > IOV_MAX) {
        return true;  // no frame, or nobody to get it: dropped
    }
    // What the host does not take for another reason is dropped, as on a wire.
    const ssize_t sent = sides_.stream != nullptr
                             ? sides_.stream->send(segments)
                             : writev(sides_.link_fd, segments.data(), static_cast<int>(segments.size()));
    if (sent < 0) {
        return errno != EAGAIN;
    }
    sides_.from_guest.take(chain.readable_size() - sizeof(Header));
    return true;
}

void NetQueues::transmit() {
    VirtQueue& queue = sides_.transmit.queue;
    if (sides_.stream != nullptr) {
        static_cast<void>(sides_.stream->flush());  // else the next look is for the same room
    }
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
        if (frames >= kBatch || sides_.from_guest.wait_time().count() > 0 || !send(*unsent_)) {
            break;
        }
        queue.push(std::move(*unsent_), 0);
        unsent_.reset();
    }
}

void NetQueues::tell_driver() {
    for (ActiveQueue* side : {&sides_.transmit, &sides_.receive}) {
        if (side->queue.interrupt_is_wanted()) {
            sides_.driver.used_buffers(side->index);
        }
    }
}

void NetQueues::look_for_link(const std::function<int()>& find) {
    const auto now = std::chrono::steady_clock::now();
    if (now < look_again_) {
        return;
    }
    look_again_ = now + kLookAgain;
    sides_.link_fd = find();
    link_is_gone_ = sides_.link_fd < 0;
}

void NetQueues::serve(int stop_fd, const LinkWatch& watch) {
    enum { kStop, kLink, kTransmitKick, kReceiveKick };
    bool told_gone = false;
    transmit();
    while (!broken_) {
        if (link_is_gone_ != told_gone) {
            told_gone = link_is_gone_;
            watch.changed(!link_is_gone_);
            transmit();  // what waited for room is dropped when it goes
        }
        tell_driver();
        // What the limits hold back comes later, by itself.
        const bool looks = link_is_gone_ && watch.find;
        auto receive_wait = looks                       ? std::chrono::nanoseconds{kLookAgain}
                            : starved_ || link_is_gone_ ? std::chrono::nanoseconds{0}
                                                        : sides_.to_guest.wait_time();
        // A batch that nobody is there to get goes on at once, but for a look at the stop.
        const std::chrono::nanoseconds at_once{1};
        const auto transmit_wait = !unsent_        ? std::chrono::nanoseconds{0}
                                   : link_is_gone_ ? at_once
                                                   : sides_.from_guest.wait_time();
        const bool receives = !starved_ && !link_is_gone_ && receive_wait.count() == 0;
        // A frame that is here already makes nothing readable.
        const bool has_frame = receives && sides_.stream != nullptr && sides_.stream->has_frame();
        if (has_frame) {
            receive_wait = at_once;
        }
        const bool has_rest = sides_.stream != nullptr && sides_.stream->has_rest();
        const bool waits_for_room = (unsent_ || has_rest) && !link_is_gone_ && transmit_wait.count() == 0;
        const auto link_events = static_cast<short>((receives ? POLLIN : 0) | (waits_for_room ? POLLOUT : 0));
        std::array<pollfd, 4> waits{};
        // A negative descriptor is not looked at.
        waits[kStop] = {stop_fd, POLLIN, 0};
        waits[kLink] = {link_events != 0 ? sides_.link_fd : -1, link_events, 0};
        waits[kTransmitKick] = {unsent_ ? -1 : sides_.transmit.kick_fd, POLLIN, 0};
        waits[kReceiveKick] = {starved_ ? sides_.receive.kick_fd : -1, POLLIN, 0};
        if (wait(waits, receive_wait, transmit_wait) < 0) {
            continue;
        }
        if (waits[kStop].revents != 0) {
            return;
        }
        if (looks) {
            look_for_link(watch.find);
        }
        if (waits[kReceiveKick].revents != 0) {
            drain_eventfd(sides_.receive.kick_fd);
            starved_ = false;
        }
        if (waits[kTransmitKick].revents != 0) {
            drain_eventfd(sides_.transmit.kick_fd);
        }
        const bool transmits = waits[kTransmitKick].revents != 0 || (waits[kLink].revents & POLLOUT) != 0 ||
                               transmit_wait.count() > 0;
        if (transmits) {
            transmit();
        }
        if (transmits && sides_.program) {
            // Where it shares this processor, it comes to it now or when this thread sleeps; now spares the
            // sleep.
            sched_yield();
        }
        // What was sent may have been answered by now; then the guest is told of both at once.
        if (has_frame || (waits[kLink].revents & POLLIN) != 0 || (transmits && receives)) {
            receive();
        }
        if ((waits[kLink].revents & (POLLERR | POLLHUP)) != 0 && (waits[kLink].revents & POLLIN) == 0) {
            link_is_gone_ = true;  // the guest has a cable without a far end
        }
    }
    tell_driver();
}

}  // namespace hull::virtio
