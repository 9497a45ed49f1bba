#include "vmm/agent/stream_pump.h"

#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace hull {

namespace {

bool is_socket(int fd) {
    struct stat status {};
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

bool is_for_later(int error) {
    return error == EAGAIN || error == EINTR;
}

bool is_writable(int fd) {
    pollfd entry{fd, POLLOUT, 0};
    return poll(&entry, 1, 0) == 1;
}

}  // namespace

StreamPump::StreamPump(EventLoop& loop, UniqueFd from, UniqueFd to, std::function<void()> on_end)
    : loop_{loop},
      from_{std::move(from)},
      to_{std::move(to)},
      to_is_socket_{is_socket(to_.get())},
      from_is_socket_{is_socket(from_.get())},
      on_end_{std::move(on_end)} {
    // Nothing is taken before it can be given: one that connects still would be undone by being told of an
    // end.
    wait_for_room(true);
}

StreamPump::~StreamPump() {
    loop_.forget(from_.get());
    loop_.forget(to_.get(), EventLoop::Ready::to_write);
}

/// Either waits for what comes, or for room to write what has come: never for both.
void StreamPump::wait_for_room(bool wanted) {
    if (wanted) {
        loop_.forget(from_.get());
        loop_.watch(
            to_.get(), [this] { give(); }, EventLoop::Ready::to_write);
    } else {
        loop_.forget(to_.get(), EventLoop::Ready::to_write);
        loop_.watch(from_.get(), [this] { take(); });
    }
}

void StreamPump::take() {
    const ssize_t got = from_is_socket_ ? recv(from_.get(), bytes_.data(), bytes_.size(), MSG_DONTWAIT)
                                        : read(from_.get(), bytes_.data(), bytes_.size());
    if (got < 0 && is_for_later(errno)) {
        return;
    }
    if (got <= 0) {
        end();
        return;
    }
    begin_ = 0;
    end_ = static_cast<size_t>(got);
    wait_for_room(true);
}

void StreamPump::give() {
    // A pipe that is ready takes so many bytes without blocking, whatever its reader does (pipe(7)).
    constexpr size_t kAtOnce = PIPE_BUF;
    do {
        const size_t left = end_ - begin_;
        const ssize_t given = to_is_socket_
                                  ? send(to_.get(), bytes_.data() + begin_, left, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : write(to_.get(), bytes_.data() + begin_, std::min(left, kAtOnce));
        if (given < 0 && is_for_later(errno)) {
            return;
        }
        if (given < 0) {
            end();
            return;
        }
        begin_ += static_cast<size_t>(given);
    } while (begin_ < end_ && is_writable(to_.get()));
    if (begin_ == end_) {
        wait_for_room(false);
    }
}

void StreamPump::end() {
    loop_.forget(from_.get());
    loop_.forget(to_.get(), EventLoop::Ready::to_write);
    shutdown(from_.get(), SHUT_RD);
    shutdown(to_.get(), SHUT_WR);
    from_.reset();
    to_.reset();
    const auto on_end = std::move(on_end_);
    on_end();
}

}  // namespace hull
