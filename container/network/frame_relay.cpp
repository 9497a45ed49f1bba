#include "container/network/frame_relay.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "guest/agent/protocol.h"

namespace hull::container {

namespace {

constexpr size_t kLength = 2;  // bytes before each frame
constexpr size_t kHeader =
    10;  // and at the tap device: a virtio_net_hdr (linux/virtio_net.h, which is no C++)

}  // namespace

FrameRelay::FrameRelay(EventLoop& loop, UniqueFd tap, UniqueFd connection)
    : loop_{loop}, tap_{std::move(tap)}, connection_{std::move(connection)} {
    loop_.watch(tap_.get(), [this] { take_frames(); });
    loop_.watch(connection_.get(), [this] { take_from_guest(); });
}

void FrameRelay::end() {
    if (connection_.valid()) {
        loop_.forget(tap_.get());
        loop_.forget(connection_.get());
        loop_.forget(connection_.get(), EventLoop::Ready::to_write);
        tap_.reset();
        connection_.reset();
    }
}

/// Those that are there, but not for ever: others are to be served, too.
void FrameRelay::take_frames() {
    constexpr int kMostAtOnce = 64;
    std::array<char, kHeader + agent::kMostFrame + 1> bytes{};
    for (int count = 0; count < kMostAtOnce && waiting_.size() < kMostWaiting; ++count) {
        const ssize_t got = read(tap_.get(), bytes.data(), bytes.size());
        if (got <= static_cast<ssize_t>(kHeader)) {
            break;
        }
        const size_t size = static_cast<size_t>(got) - kHeader;
        if (size <= agent::kMostFrame) {
            waiting_ += static_cast<char>(size >> 8);
            waiting_ += static_cast<char>(size & 0xff);
            waiting_.append(bytes.data() + kHeader, size);
        }
    }
    if (waiting_.size() >= kMostWaiting) {
        loop_.forget(tap_.get());  // which keeps some, and drops the rest
    }
    send();
}

void FrameRelay::send() {
    const ssize_t sent =
        ::send(connection_.get(), waiting_.data(), waiting_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        end();
        return;
    }
    waiting_.erase(0, static_cast<size_t>(std::max<ssize_t>(sent, 0)));
    if (waiting_.empty()) {
        loop_.forget(connection_.get(), EventLoop::Ready::to_write);
    } else {
        loop_.watch(
            connection_.get(), [this] { send(); }, EventLoop::Ready::to_write);
    }
    if (waiting_.size() < kMostWaiting) {
        loop_.watch(tap_.get(), [this] { take_frames(); });
    }
}

void FrameRelay::take_from_guest() {
    std::array<char, size_t{64} << 10> bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init): for each
    const ssize_t got = recv(connection_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        end();
        return;
    }
    got_.append(bytes.data(), static_cast<size_t>(got));
    size_t at = 0;
    while (got_.size() - at >= kLength) {
        const size_t size = static_cast<size_t>(static_cast<unsigned char>(got_[at])) << 8 |
                            static_cast<unsigned char>(got_[at + 1]);
        if (size > agent::kMostFrame) {
            end();
            return;
        }
        if (got_.size() - at - kLength < size) {
            break;
        }
        // What the device does not take is lost.
        std::array<char, kHeader> header{};
        const std::array<iovec, 2> pieces{iovec{header.data(), header.size()},
                                          {got_.data() + at + kLength, size}};
        [[maybe_unused]] const ssize_t put = writev(tap_.get(), pieces.data(), pieces.size());
        at += kLength + size;
    }
    got_.erase(0, at);
}

}  // namespace hull::container
