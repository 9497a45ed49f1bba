#include "devices/vsock/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "devices/virtio/segments.h"

namespace hull::virtio {

namespace {

/// "CONNECT 4294967295\n" and some more, so that what is longer is seen to be.
constexpr size_t kMostGreeting = 32;

std::optional<uint32_t> parse_greeting(std::string_view line) {
    constexpr std::string_view kWord = "CONNECT ";
    if (!line.starts_with(kWord)) {
        return std::nullopt;
    }
    line.remove_prefix(kWord.size());
    uint32_t port = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), port);
    if (error != std::errc{} || rest != line.data() + line.size()) {
        return std::nullopt;
    }
    return port;
}

}  // namespace

VsockConnection::VsockConnection(const VsockHeader& request, UniqueFd socket)
    : stage_{Stage::open}, flow_{flow_from_guest(request)}, socket_{std::move(socket)}, owes_response_{true} {
    take_credit(request);
}

void VsockConnection::take_events(uint32_t events) {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        readable_ = true;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        hung_up_ = true;
    }
    if ((events & EPOLLOUT) != 0) {
        flush();
    }
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        if (stage_ == Stage::greeting || stage_ == Stage::requested) {
            stage_ = Stage::over;
            return;
        }
        stop_writing();
        close_when_done();
    }
}

std::optional<uint32_t> VsockConnection::read_greeting() {
    std::array<char, kMostGreeting> bytes{};
    const ssize_t got = recv(socket(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return std::nullopt;
    }
    const std::string_view text{bytes.data(), static_cast<size_t>(std::max<ssize_t>(got, 0))};
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) {
        if (text.empty() || text.size() == bytes.size() || hung_up_) {
            stage_ = Stage::over;
        }
        return std::nullopt;
    }
    // Only the line: what comes behind it is for the guest.
    const std::optional<uint32_t> port = parse_greeting(text.substr(0, end));
    if (!port || recv(socket(), bytes.data(), end + 1, MSG_DONTWAIT) != static_cast<ssize_t>(end + 1)) {
        stage_ = Stage::over;
        return std::nullopt;
    }
    return port;
}

void VsockConnection::request(const VsockFlow& flow) {
    flow_ = flow;
    stage_ = Stage::requested;
    owes_request_ = true;
}

VsockConnection::Verdict VsockConnection::take_packet(const VsockHeader& header,
                                                      std::span<const iovec> payload) {
    take_credit(header);
    if (header.op == VIRTIO_VSOCK_OP_RST) {
        return Verdict::forgotten;
    }
    if (header.op == VIRTIO_VSOCK_OP_RESPONSE && awaits_response()) {
        stage_ = Stage::open;
        // The first bytes that the socket gets, so there is room; where it fails its end is told by epoll.
        const std::string line = "OK " + std::to_string(flow_.host_port) + "\n";
        [[maybe_unused]] const ssize_t sent =
            send(socket(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return Verdict::keep;
    }
    if (stage_ != Stage::open) {
        return Verdict::reset;
    }
    switch (header.op) {
        case VIRTIO_VSOCK_OP_RW:
            return take_data(header.len, payload);
        case VIRTIO_VSOCK_OP_SHUTDOWN:
            return take_shutdown(header.flags);
        case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
            return Verdict::keep;
        case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
            asked_for_update_ = true;
            return Verdict::keep;
        default:  // a second request among them: whoever sends that has lost the stream
            return Verdict::reset;
    }
}

void VsockConnection::take_credit(const VsockHeader& header) {
    peer_allocated_ = header.buf_alloc;
    peer_forwarded_ = header.fwd_cnt;
    if (credit() > 0) {
        asked_for_credit_ = false;
    }
}

uint32_t VsockConnection::credit() const {
    const uint32_t under_way = sent_ - peer_forwarded_;
    return under_way < peer_allocated_ ? peer_allocated_ - under_way : 0;
}

VsockConnection::Verdict VsockConnection::take_data(uint32_t size, std::span<const iovec> payload) {
    // What the guest was told is what it must keep to, and so is what bounds the memory here.
    if (size > kBufferSize - (received_ - told_forwarded_) ||
        (guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0) {
        return Verdict::reset;
    }
    received_ += size;
    const size_t written = unwritten_.empty() ? write_to_host(payload, size) : 0;
    if (write_ended_) {
        forwarded_ = received_;  // nobody is there to take it
        return Verdict::keep;
    }
    forwarded_ += static_cast<uint32_t>(written);
    if (written < size) {
        unwritten_.erase(unwritten_.begin(), unwritten_.begin() + static_cast<ptrdiff_t>(unwritten_from_));
        unwritten_from_ = 0;
        std::vector<iovec> rest;
        append_part(payload, written, size - written, rest);
        for (const iovec& part : rest) {
            const auto* bytes = static_cast<const std::byte*>(part.iov_base);
            unwritten_.insert(unwritten_.end(), bytes, bytes + part.iov_len);
        }
    }
    return Verdict::keep;
}

VsockConnection::Verdict VsockConnection::take_shutdown(uint32_t flags) {
    guest_shutdown_ |= flags & kVsockShutdownBoth;
    // 5.10.6.5: the clean end, which a RST answers. Neither side has the ports in use then.
    if (guest_shutdown_ == kVsockShutdownBoth) {
        return Verdict::reset;
    }
    if (guest_shutdown_ == VIRTIO_VSOCK_SHUTDOWN_RCV) {
        shutdown(socket(), SHUT_RD);
        read_ended_ = true;
        close_when_done();
    }
    if (guest_shutdown_ == VIRTIO_VSOCK_SHUTDOWN_SEND && unwritten_.empty()) {
        shutdown(socket(), SHUT_WR);
    }
    return Verdict::keep;
}

void VsockConnection::leave_guest() {
    stage_ = unwritten_.empty() ? Stage::over : Stage::draining;
    if (stage_ == Stage::draining) {
        shutdown(socket(), SHUT_RD);
    }
}

size_t VsockConnection::write_to_host(std::span<const iovec> segments, size_t size) {
    if (size == 0 || write_ended_) {
        return 0;
    }
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(segments.data());
    message.msg_iovlen = segments.size();
    const ssize_t sent = sendmsg(socket(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        return static_cast<size_t>(sent);
    }
    if (errno != EAGAIN && errno != EINTR) {
        stop_writing();
    }
    return 0;
}

void VsockConnection::flush() {
    if (unwritten_.empty()) {
        return;
    }
    const size_t size = unwritten_.size() - unwritten_from_;
    const iovec rest{unwritten_.data() + unwritten_from_, size};
    const size_t written = write_to_host({&rest, 1}, size);
    if (write_ended_) {
        return;
    }
    forwarded_ += static_cast<uint32_t>(written);
    unwritten_from_ += written;
    if (written < size) {
        return;
    }
    unwritten_ = {};
    unwritten_from_ = 0;
    if (stage_ == Stage::draining) {
        stage_ = Stage::over;
    } else if ((guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0) {
        shutdown(socket(), SHUT_WR);
    }
}

void VsockConnection::stop_writing() {
    write_ended_ = true;
    forwarded_ = received_;
    unwritten_ = {};
    unwritten_from_ = 0;
    if (stage_ == Stage::draining) {
        stage_ = Stage::over;
    }
}

void VsockConnection::close_when_done() {
    if (read_ended_ && write_ended_) {
        socket_.reset();
    }
}

uint32_t VsockConnection::host_shutdown() const {
    return (read_ended_ ? uint32_t{VIRTIO_VSOCK_SHUTDOWN_SEND} : 0) |
           (write_ended_ ? uint32_t{VIRTIO_VSOCK_SHUTDOWN_RCV} : 0);
}

bool VsockConnection::can_read() const {
    return stage_ == Stage::open && readable_ && !read_ended_ && credit() > 0;
}

bool VsockConnection::owes_credit_update() const {
    return asked_for_update_ || forwarded_ - told_forwarded_ >= kBufferSize / 2;
}

bool VsockConnection::owes_credit_request() const {
    return readable_ && !read_ended_ && !asked_for_credit_ && credit() == 0;
}

bool VsockConnection::has_packet() const {
    return owes_request_ ||
           (stage_ == Stage::open && (owes_response_ || told_shutdown_ != host_shutdown() ||
                                      owes_credit_update() || can_read() || owes_credit_request()));
}

std::optional<VsockHeader> VsockConnection::next_control() {
    if (std::exchange(owes_request_, false)) {
        return header(VIRTIO_VSOCK_OP_REQUEST);
    }
    if (stage_ != Stage::open) {
        return std::nullopt;
    }
    if (std::exchange(owes_response_, false)) {
        return header(VIRTIO_VSOCK_OP_RESPONSE);
    }
    if (told_shutdown_ != host_shutdown()) {
        told_shutdown_ = host_shutdown();
        return header(VIRTIO_VSOCK_OP_SHUTDOWN, 0, told_shutdown_);
    }
    if (owes_credit_update()) {
        return header(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    }
    if (owes_credit_request()) {
        asked_for_credit_ = true;
        return header(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    }
    return std::nullopt;
}

size_t VsockConnection::read(std::span<const iovec> segments) {
    if (!can_read()) {
        return 0;
    }
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(segments.data());
    message.msg_iovlen = segments.size();
    const ssize_t got = recvmsg(socket(), &message, MSG_DONTWAIT);
    if (got > 0) {
        // Less than was asked for need not be all: a read ends behind a descriptor that was sent along.
        sent_ += static_cast<uint32_t>(got);
        return static_cast<size_t>(got);
    }
    if (got < 0 && errno == EINTR) {
        return 0;
    }
    readable_ = false;
    if (got == 0 || errno != EAGAIN) {
        read_ended_ = true;
        close_when_done();
    }
    return 0;
}

VsockHeader VsockConnection::header(uint16_t op, uint32_t size, uint32_t flags) {
    asked_for_update_ = false;
    told_forwarded_ = forwarded_;
    VsockHeader header{};
    header.src_port = flow_.host_port;
    header.dst_port = flow_.guest_port;
    header.len = size;
    header.type = VIRTIO_VSOCK_TYPE_STREAM;
    header.op = op;
    header.flags = flags;
    header.buf_alloc = kBufferSize;
    header.fwd_cnt = forwarded_;
    return header;
}

}  // namespace hull::virtio
