#include "base/event_loop.h"

#include <poll.h>

#include <algorithm>
#include <utility>

namespace hull {

namespace {

constexpr short kRead = POLLIN;
constexpr short kWrite = POLLOUT;

}  // namespace

void EventLoop::watch(int fd, Handler handler, Ready ready) {
    forget(fd, ready);
    watches_.push_back({fd, ready, std::move(handler)});
}

void EventLoop::forget(int fd, Ready ready) {
    if (const auto found = find(fd, ready); found != watches_.end()) {
        watches_.erase(found);
    }
}

std::vector<EventLoop::Watch>::iterator EventLoop::find(int fd, Ready ready) {
    return std::find_if(watches_.begin(), watches_.end(),
                        [=](const Watch& watch) { return watch.fd == fd && watch.ready == ready; });
}

void EventLoop::set_deadline(std::chrono::milliseconds delay, Handler handler) {
    deadline_ = Deadline{std::chrono::steady_clock::now() + delay, std::move(handler)};
}

int EventLoop::poll_timeout_ms() const {
    if (!deadline_) {
        return -1;
    }
    const auto left = deadline_->when - std::chrono::steady_clock::now();
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    return static_cast<int>(std::clamp<int64_t>(ms, 0, 60'000));
}

void EventLoop::run() {
    running_ = true;
    std::vector<pollfd> polled;
    while (running_) {
        polled.clear();
        for (const Watch& watch : watches_) {
            polled.push_back({watch.fd, watch.ready == Ready::to_read ? kRead : kWrite, 0});
        }
        if (poll(polled.data(), polled.size(), poll_timeout_ms()) < 0) {
            continue;  // EINTR; nothing else can happen to valid arguments
        }
        if (deadline_ && std::chrono::steady_clock::now() >= deadline_->when) {
            const Handler handler = std::move(deadline_->handler);
            deadline_.reset();
            handler();
        }
        for (const pollfd& entry : polled) {
            if (!running_ || entry.revents == 0) {
                continue;
            }
            // Looked up anew, and copied: the handlers before this one may have changed the list.
            const auto found = find(entry.fd, entry.events == kRead ? Ready::to_read : Ready::to_write);
            if (found != watches_.end()) {
                const Handler handler = found->handler;
                handler();
            }
        }
    }
}

}  // namespace hull
