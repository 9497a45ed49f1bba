#include "guest/agent/datagrams.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace hull::agent {

namespace {

constexpr size_t kLength = 2;  // bytes of the header, and the next
constexpr size_t kIpSize = 4;  //

bool is_for_later(ssize_t result) {
    return result < 0 && (errno == EAGAIN || errno == EINTR);
}

}  // namespace

void Datagrams::begin(int socket, int connection) {
    socket_ = socket;
    connection_ = connection;
    begin_ = end_ = have_ = 0;
}

void Datagrams::wants(pollfd* entries) const {
    const bool is_full = end_ > begin_;
    entries[0] = {is_full || connection_ < 0 ? -1 : socket_, POLLIN, 0};
    entries[1] = {connection_, static_cast<short>(POLLIN | (is_full ? POLLOUT : 0)), 0};
}

void Datagrams::serve(const pollfd* entries) {
    if (entries[0].revents != 0) {
        take_datagrams();
    }
    if ((entries[1].revents & POLLOUT) != 0) {
        send_waiting();
    }
    if ((entries[1].revents & ~POLLOUT) != 0) {
        take_frames();
    }
}

/// As many as the connection takes, but not for ever: others are to be served, too.
void Datagrams::take_datagrams() {
    constexpr int kMost = 16;
    for (int count = 0; count < kMost && end_ == begin_ && connection_ >= 0; ++count) {
        sockaddr_in from{};
        socklen_t size = sizeof from;
        // One byte more than may be: a datagram that is longer is none for the host.
        uint8_t byte_more[kMostDatagram + 1];
        const ssize_t got = recvfrom(socket_, byte_more, sizeof byte_more, MSG_DONTWAIT,
                                     reinterpret_cast<sockaddr*>(&from), &size);
        if (got < 0) {
            return;  // none is there, or one of those that were sent did not arrive
        }
        if (static_cast<size_t>(got) > kMostDatagram) {
            continue;
        }
        to_host_[0] = static_cast<uint8_t>(got >> 8);
        to_host_[1] = static_cast<uint8_t>(got);
        memcpy(to_host_ + kLength, &from.sin_addr, kIpSize);
        memcpy(to_host_ + kLength + kIpSize, &from.sin_port, sizeof from.sin_port);
        memcpy(to_host_ + kDatagramHeader, byte_more, static_cast<size_t>(got));
        begin_ = 0;
        end_ = kDatagramHeader + static_cast<size_t>(got);
        send_waiting();
    }
}

void Datagrams::send_waiting() {
    while (begin_ < end_) {
        const ssize_t sent = send(connection_, to_host_ + begin_, end_ - begin_, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (is_for_later(sent)) {
            return;
        }
        if (sent < 0) {
            end();
            return;
        }
        begin_ += static_cast<size_t>(sent);
    }
}

void Datagrams::take_frames() {
    const ssize_t got = recv(connection_, from_host_ + have_, sizeof from_host_ - have_, MSG_DONTWAIT);
    if (is_for_later(got)) {
        return;
    }
    if (got <= 0) {
        end();
        return;
    }
    have_ += static_cast<size_t>(got);
    size_t at = 0;
    while (have_ - at >= kDatagramHeader) {
        const uint8_t* const frame = from_host_ + at;
        const size_t size = static_cast<size_t>(frame[0]) << 8 | frame[1];
        if (size > kMostDatagram) {
            end();
            return;
        }
        if (have_ - at < kDatagramHeader + size) {
            break;
        }
        sockaddr_in to{};
        to.sin_family = AF_INET;
        memcpy(&to.sin_addr, frame + kLength, kIpSize);
        memcpy(&to.sin_port, frame + kLength + kIpSize, sizeof to.sin_port);
        sendto(socket_, frame + kDatagramHeader, size, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to),
               sizeof to);
        at += kDatagramHeader + size;
    }
    memmove(from_host_, from_host_ + at, have_ - at);
    have_ -= at;
}

/// The host carries none any more. The socket stays, so that nobody else takes its place.
void Datagrams::end() {
    close(connection_);
    connection_ = -1;
    begin_ = end_ = 0;
}

}  // namespace hull::agent
