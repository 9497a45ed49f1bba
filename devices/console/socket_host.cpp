#include "devices/console/socket_host.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

namespace hull::virtio {

size_t SocketHost::write(std::span<const std::byte> bytes) {
    const ssize_t sent = send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        return static_cast<size_t>(sent);
    }
    return errno == EAGAIN || errno == EINTR ? 0 : bytes.size();  // to one who does not listen
}

size_t SocketHost::read(std::span<std::byte> target) {
    if (!client_.valid() || has_sent_all_) {
        return 0;
    }
    const ssize_t got = recv(client_.get(), target.data(), target.size(), MSG_DONTWAIT);
    if (got > 0) {
        return static_cast<size_t>(got);
    }
    if (got == 0) {
        has_sent_all_ = true;
    }
    if ((got == 0 && has_left_) || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        client_.reset();
    }
    return 0;
}

PortHost::Waits SocketHost::waits(const Wishes& wishes) const {
    if (!client_.valid()) {
        return {pollfd{wishes.next ? listener_.get() : -1, POLLIN, 0}, pollfd{-1, 0, 0}};
    }
    const bool input = wishes.input && !has_sent_all_;
    const auto events = static_cast<short>((input ? POLLIN : 0) | (wishes.output ? POLLOUT : 0));
    // That one has left is told without being asked for, again and again.
    return {pollfd{-1, 0, 0}, pollfd{has_left_ && !input ? -1 : client_.get(), events, 0}};
}

void SocketHost::take_events(const Waits& waits) {
    if (waits[0].revents != 0) {
        client_ = UniqueFd{accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
        has_sent_all_ = false;
        has_left_ = false;
        return;
    }
    if ((waits[1].revents & (POLLHUP | POLLERR)) == 0) {
        return;
    }
    has_left_ = true;
    uint8_t byte = 0;
    if (has_sent_all_ || recv(client_.get(), &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) <= 0) {
        client_.reset();
    }
}

}  // namespace hull::virtio
