#include "devices/net/net_queues.h"

#include <limits.h>
#include <sched.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "devices/net/layout.h"

namespace hull::virtio {

namespace {

using Header = virtio_net_hdr_v1;
constexpr size_t kFrameRoom = sizeof(Header) + NetQueues::kMostFrame;
/// How often a link that is gone is looked for.
constexpr std::chrono::seconds kLookAgain{1};
/// So many segments of filled buffers are kept before they are cut off together.
constexpr size_t kMostFilled = 1024;
/// Most frames fit into this, and where so many in a row did, the next one is thought to.
constexpr size_t kSmallFrame = 2048;
constexpr int kSmallInARow = 8;

/// The shorter of two waits, of which none is zero; none where both are.
std::optional<std::chrono::nanoseconds> shorter(std::chrono::nanoseconds one,
                                                std::chrono::nanoseconds other) {
    const auto longest = std::chrono::nanoseconds::max();
    const auto least = std::min(one.count() > 0 ? one : longest, other.count() > 0 ? other : longest);
    return least == longest ? std::nullopt : std::optional{least};
}

/// What serve() waits for.
class Waits {
  public:
    enum Watched : uint32_t { kStop, kLink, kTransmitKick, kReceiveKick };

    /// Kicks are told of once each, and their eventfds never read: a system call less for each.
    Waits(int stop_fd, int transmit_kick_fd, int receive_kick_fd)
        : is_whole_{epoll_.valid() && control(EPOLL_CTL_ADD, stop_fd, kStop, EPOLLIN) &&
                    control(EPOLL_CTL_ADD, transmit_kick_fd, kTransmitKick, EPOLLIN | EPOLLET) &&
                    control(EPOLL_CTL_ADD, receive_kick_fd, kReceiveKick, EPOLLIN | EPOLLET)} {}

    /// What of the link is waited for; with no events nothing is, not even its end.
    void set_link(int fd, uint32_t events) {
        if (events == link_events_) {
            return;
        }
        const int operation = link_events_ == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
        is_whole_ = control(operation, fd, kLink, events) && is_whole_;
        link_events_ = events;
    }

    /// Sleeps until there is something, or `most` is over (none: for ever). False where the host had no
    /// resources to watch it all.
    [[nodiscard]] bool wait(std::optional<std::chrono::nanoseconds> most) {
        const int timeout =
            most ? static_cast<int>(
                       std::chrono::ceil<std::chrono::milliseconds>(std::min(*most, kMostWait)).count())
                 : -1;
        events_ = {};
        std::array<epoll_event, 4> ready{};
        const int count = epoll_wait(epoll_.get(), ready.data(), ready.size(), timeout);
        for (int at = 0; at < count; ++at) {
            const epoll_event& event = ready.at(static_cast<size_t>(at));
            events_.at(event.data.u32) = event.events;
        }
        return is_whole_;
    }
    /// What the last wait() found.
    [[nodiscard]] uint32_t events(Watched watched) const { return events_.at(watched); }

  private:
    static constexpr std::chrono::nanoseconds kMostWait = std::chrono::seconds{1};

    bool control(int operation, int fd, Watched watched, uint32_t events) {
        epoll_event event{.events = events, .data = {.u32 = watched}};
        return epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
    }

    UniqueFd epoll_{epoll_create1(EPOLL_CLOEXEC)};
    bool is_whole_;
    uint32_t link_events_ = 0;
    std::array<uint32_t, 4> events_{};
};

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

void NetQueues::receive(int most) {
    sides_.receive.queue.hold_kicks();
    starved_ = false;
    for (int frames = 0;
         frames < most && !broken_ && sides_.to_guest.wait_time().count() == 0 && receive_one(); ++frames) {
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
    Waits waits{stop_fd, sides_.transmit.kick_fd, sides_.receive.kick_fd};
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
        const std::chrono::nanoseconds none{0};
        const bool looks = link_is_gone_ && watch.find;
        const auto receive_wait = looks                       ? std::chrono::nanoseconds{kLookAgain}
                                  : starved_ || link_is_gone_ ? none
                                                              : sides_.to_guest.wait_time();
        const auto transmit_wait = unsent_ && !link_is_gone_ ? sides_.from_guest.wait_time() : none;
        const bool receives = !starved_ && !link_is_gone_ && receive_wait == none;
        // A frame that is here already makes nothing readable.
        const bool has_frame = receives && sides_.stream != nullptr && sides_.stream->has_frame();
        // A batch that nobody is there to get goes on at once, but for a look at the stop.
        const bool drops = unsent_ && link_is_gone_;
        const bool has_rest = sides_.stream != nullptr && sides_.stream->has_rest();
        const bool waits_for_room = (unsent_ || has_rest) && !link_is_gone_ && transmit_wait == none;
        waits.set_link(sides_.link_fd, (receives ? EPOLLIN : 0U) | (waits_for_room ? EPOLLOUT : 0U));
        if (!waits.wait(has_frame || drops ? none : shorter(receive_wait, transmit_wait))) {
            fail("the host has no resources to watch its descriptors with");
            break;
        }
        if (waits.events(Waits::kStop) != 0) {
            return;
        }
        if (looks) {
            look_for_link(watch.find);
        }
        if (waits.events(Waits::kReceiveKick) != 0) {
            starved_ = false;
        }
        const uint32_t link = waits.events(Waits::kLink);
        const bool transmits = waits.events(Waits::kTransmitKick) != 0 || (link & EPOLLOUT) != 0 ||
                               transmit_wait != none || drops;
        if (transmits) {
            transmit();
        }
        if (transmits && sides_.program) {
            // Where it shares this processor, it comes to it now or when this thread sleeps; now spares the
            // sleep.
            sched_yield();
        }
        if (has_frame || (link & EPOLLIN) != 0) {
            receive();
        } else if (transmits && receives) {
            // What was sent may have been answered by now; then the guest is told of both at once. One answer
            // is looked for, since the look at what is not there costs as much as one at what is.
            receive(1);
        }
        if ((link & (EPOLLERR | EPOLLHUP)) != 0 && (link & EPOLLIN) == 0) {
            link_is_gone_ = true;  // the guest has a cable without a far end
        }
    }
    tell_driver();
}

}  // namespace hull::virtio
