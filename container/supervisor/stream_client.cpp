#include "container/supervisor/stream_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "container/supervisor/stream_frame.h"

namespace hull::container {

namespace {

bool is_for_later(int error) {
    return error == EAGAIN || error == EINTR;
}

/// Whether the other end is closed in both directions.
bool is_hung_up(int fd) {
    pollfd entry{fd, 0, 0};
    return poll(&entry, 1, 0) == 1 && (entry.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

StreamClient::StreamClient(EventLoop& loop, UniqueFd socket, Config config, Events events)
    : loop_{loop}, socket_{std::move(socket)}, config_{std::move(config)}, events_{std::move(events)} {}

StreamClient::~StreamClient() {
    loop_.forget(socket_.get());
    loop_.forget(socket_.get(), EventLoop::Ready::to_write);
}

void StreamClient::begin() {
    take_input(std::exchange(config_.first, {}));
    watch_input();
}

void StreamClient::watch_input() {
    if (!is_held_ && !has_input_ended_ && !is_gone()) {
        loop_.watch(socket_.get(), [this] { take(); });
    }
}

void StreamClient::hold_input(bool is_held) {
    is_held_ = is_held;
    if (is_held_ && !is_gone()) {
        loop_.forget(socket_.get());
    }
    watch_input();
}

void StreamClient::take() {
    std::array<char, size_t{32} << 10> bytes{};
    const ssize_t got = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && is_for_later(errno)) {
        return;
    }
    if (got > 0) {
        take_input({bytes.data(), static_cast<size_t>(got)});
        return;
    }
    end_input();
    if (is_hung_up(socket_.get())) {
        drop();
    }
}

void StreamClient::end_input() {
    loop_.forget(socket_.get());
    if (!std::exchange(has_input_ended_, true) && config_.input) {
        events_.input_ended();
    }
}

void StreamClient::take_input(std::string_view bytes) {
    if (!config_.input || bytes.empty()) {
        return;
    }
    if (!config_.is_raw || config_.keys.empty()) {
        events_.typed(bytes);
        return;
    }
    // What may be the beginning of the keys waits until it is known not to be.
    const std::string keys{config_.keys.begin(), config_.keys.end()};
    std::string typed;
    for (const char byte : bytes) {
        if (byte != keys[keys_]) {
            typed += keys.substr(0, std::exchange(keys_, 0));
        }
        if (byte != keys[keys_]) {
            typed += byte;
        } else if (++keys_ == keys.size()) {
            if (!typed.empty()) {
                events_.typed(typed);
            }
            drop();
            return;
        }
    }
    if (!typed.empty()) {
        events_.typed(typed);
    }
}

void StreamClient::give(LogStream stream, std::string_view bytes) {
    const bool wants = stream == LogStream::output ? config_.output : config_.errors;
    if (!wants || is_gone() || bytes.empty()) {
        return;
    }
    if (config_.is_raw) {
        waiting_ += bytes;
    } else {
        waiting_ += framed(static_cast<unsigned>(stream), bytes);
    }
    send_waiting();
}

void StreamClient::send_waiting() {
    const bool was_full = is_full();
    size_t done = 0;
    while (done < waiting_.size()) {
        const ssize_t sent =
            send(socket_.get(), waiting_.data() + done, waiting_.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            break;
        }
        if (sent < 0 && errno != EINTR) {
            end_input();
            drop();
            return;
        }
        done += static_cast<size_t>(std::max<ssize_t>(sent, 0));
    }
    waiting_.erase(0, done);
    if (waiting_.empty()) {
        loop_.forget(socket_.get(), EventLoop::Ready::to_write);
        if (ends_when_told_) {
            drop();
            return;
        }
    } else {
        loop_.watch(
            socket_.get(), [this] { send_waiting(); }, EventLoop::Ready::to_write);
    }
    if (was_full && !is_full()) {
        events_.has_room();
    }
}

void StreamClient::drop() {
    if (is_gone()) {
        return;
    }
    loop_.forget(socket_.get());
    loop_.forget(socket_.get(), EventLoop::Ready::to_write);
    // So that it learns of it whoever else has the socket open.
    shutdown(socket_.get(), SHUT_RDWR);
    socket_.reset();
    waiting_.clear();
    events_.has_room();
}

void StreamClient::end_when_told() {
    ends_when_told_ = true;
    if (has_all()) {
        drop();
    }
}

}  // namespace hull::container
