#include "devices/net/frame_stream.h"

#include <arpa/inet.h>
#include <limits.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/unix_address.h"
#include "devices/net/layout.h"
#include "devices/net/net_queues.h"

namespace hull::virtio {

namespace {

using Header = virtio_net_hdr_v1;
using Length = uint32_t;

/// Of the frame at the front of `bytes`; nothing where that is not there yet.
std::optional<Length> length_of(std::span<const std::byte> bytes) {
    Length length = 0;
    if (bytes.size() < sizeof length) {
        return std::nullopt;
    }
    std::memcpy(&length, bytes.data(), sizeof length);
    return ntohl(length);
}

/// Copies as much of `bytes` as has room, from `offset` of the places on.
void scatter(std::span<const iovec> places, size_t offset, std::span<const std::byte> bytes) {
    for (const iovec& place : places) {
        if (offset >= place.iov_len) {
            offset -= place.iov_len;
            continue;
        }
        const size_t part = std::min(place.iov_len - offset, bytes.size());
        std::memcpy(static_cast<std::byte*>(place.iov_base) + offset, bytes.data(), part);
        bytes = bytes.subspan(part);
        offset = 0;
    }
}

size_t size_of(std::span<const iovec> places) {
    size_t size = 0;
    for (const iovec& place : places) {
        size += place.iov_len;
    }
    return size;
}

}  // namespace

UniqueFd connect_frame_stream(const std::string& path) {
    const std::string tried = "cannot use the network at the socket '" + path + "'";
    const auto address = UnixAddress::at(path);
    if (!address) {
        throw Error{ExitStatus::bad_file, tried, address.error(), "give another one"};
    }
    UniqueFd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (const int cause = address->connect(fd.get()); cause != 0) {
        throw Error{ExitStatus::bad_file, tried, errno_text(cause),
                    "start the program that serves it, for example: passt --socket " + path};
    }
    return fd;
}

bool FrameStream::has_frame() const {
    const auto bytes = std::span{received_}.subspan(first_, end_ - first_);
    const auto length = length_of(bytes);
    return length && (*length > NetQueues::kMostFrame || bytes.size() - sizeof(Length) >= *length);
}

ssize_t FrameStream::receive(std::span<const iovec> places) {
    if (!has_frame()) {
        // To the front, so that the largest frame has room.
        std::memmove(received_.data(), received_.data() + first_, end_ - first_);
        end_ -= first_;
        first_ = 0;
        const ssize_t got = recv(fd_, received_.data() + end_, received_.size() - end_, MSG_DONTWAIT);
        if (got <= 0) {
            return got;
        }
        end_ += static_cast<size_t>(got);
        if (!has_frame()) {
            errno = EAGAIN;
            return -1;
        }
    }
    const auto bytes = std::span{received_}.subspan(first_, end_ - first_);
    const Length length = length_of(bytes).value_or(0);
    if (length > NetQueues::kMostFrame) {
        return 0;  // where the next one begins is not known any more
    }
    const Header header{};
    scatter(places, 0, std::as_bytes(std::span{&header, 1}));
    scatter(places, sizeof header, bytes.subspan(sizeof length, length));
    first_ += sizeof length + length;
    return static_cast<ssize_t>(std::min(sizeof header + length, size_of(places)));
}

bool FrameStream::flush() {
    while (!rest_.empty()) {
        const ssize_t sent = ::send(fd_, rest_.data(), rest_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            return false;
        }
        if (sent < 0) {
            rest_.clear();  // nobody is there to get it, which receive() tells
            return true;
        }
        rest_.erase(rest_.begin(), rest_.begin() + sent);
    }
    return true;
}

ssize_t FrameStream::send(std::span<const iovec> segments) {
    if (!flush()) {
        errno = EAGAIN;
        return -1;
    }
    const size_t size = size_of(segments);
    const Length length = htonl(static_cast<Length>(size - sizeof(Header)));
    std::vector<iovec> parts{{const_cast<Length*>(&length), sizeof length}};
    size_t skipped = 0;
    for (iovec segment : segments) {
        const size_t part = std::min(segment.iov_len, sizeof(Header) - skipped);
        skipped += part;
        segment.iov_base = static_cast<std::byte*>(segment.iov_base) + part;
        segment.iov_len -= part;
        parts.push_back(segment);
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = std::min<size_t>(parts.size(), IOV_MAX);
    const ssize_t sent = sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        return -1;
    }
    // What did not fit must follow before anything else.
    auto done = static_cast<size_t>(sent);
    for (const iovec& part : parts) {
        const size_t left_out = std::min(done, part.iov_len);
        done -= left_out;
        const auto* from = static_cast<const std::byte*>(part.iov_base);
        rest_.insert(rest_.end(), from + left_out, from + part.iov_len);
    }
    return static_cast<ssize_t>(size);
}

}  // namespace hull::virtio
