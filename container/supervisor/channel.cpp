#include "container/supervisor/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/unix_address.h"
#include "container/image/json.h"

namespace hull::container {

namespace {

/// Of a message that has come. Of several, the first.
UniqueFd take_descriptor(msghdr& message) {
    UniqueFd taken;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= part->cmsg_len; at += sizeof(int)) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(part) + at, sizeof number);
            UniqueFd fd{number};
            if (!taken.valid()) {
                taken = std::move(fd);
            }
        }
    }
    return taken;
}

}  // namespace

Channel Channel::connect(const std::filesystem::path& path) {
    const auto address = UnixAddress::at(path);
    UniqueFd socket{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    if (!address || !socket.valid() || address->connect(socket.get()) != 0) {
        return Channel{UniqueFd{}};
    }
    return Channel{std::move(socket)};
}

bool Channel::send(const boost::json::object& what, int descriptor) {
    std::string text = boost::json::serialize(what);
    if (text.size() > kMostBytes) {
        throw Error{ExitStatus::usage, "cannot tell the container's supervisor so much",
                    "it is more than " + std::to_string(kMostBytes >> 10) + " KiB",
                    "give the command fewer words and variables"};
    }
    iovec part{text.data(), text.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (descriptor >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* const rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    ssize_t sent = 0;
    do {
        sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == static_cast<ssize_t>(text.size());
}

std::optional<Channel::Message> Channel::receive() {
    if (room_.empty()) {
        room_.resize(kMostBytes);
    }
    iovec part{room_.data(), room_.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t got = 0;
    do {
        got = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) {
        return std::nullopt;
    }
    Message result;
    result.descriptor = take_descriptor(message);
    try {
        if (got > 0 && (message.msg_flags & MSG_TRUNC) == 0) {
            result.what =
                parse_json_object({room_.data(), static_cast<size_t>(got)}, "cannot read a message");
            return result;
        }
    } catch (const Error&) {
        // Whoever does not speak this language is not listened to.
    }
    is_at_end_ = true;
    return std::nullopt;
}

}  // namespace hull::container
