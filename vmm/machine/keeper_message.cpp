#include "vmm/machine/keeper_message.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/printable.h"

namespace hull {

namespace {

constexpr size_t kMostDescriptors = 2;

/// Room for the descriptors of one message.
struct ControlRoom {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kMostDescriptors * sizeof(int))> bytes{};
};

ssize_t receive(int socket, msghdr& message) {
    ssize_t got = 0;
    do {
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    return got;
}

}  // namespace

bool send_request(int socket, KeeperMessage message, std::span<const int> descriptors) {
    iovec part{&message, sizeof message};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    ControlRoom room;
    if (!descriptors.empty()) {
        header.msg_control = room.bytes.data();
        header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* const rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof message;
}

std::optional<KeeperRequest> receive_request(int socket) {
    KeeperRequest request;
    iovec part{&request.message, sizeof request.message};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    ControlRoom room;
    header.msg_control = room.bytes.data();
    header.msg_controllen = room.bytes.size();
    if (receive(socket, header) <= 0) {
        return std::nullopt;
    }
    for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS) {
            std::array<int, kMostDescriptors> numbers{};
            const size_t count = std::min((each->cmsg_len - CMSG_LEN(0)) / sizeof(int), numbers.size());
            std::memcpy(numbers.data(), CMSG_DATA(each), count * sizeof(int));
            for (const int number : std::span{numbers}.first(count)) {
                request.descriptors.emplace_back(number);
            }
        }
    }
    return request;
}

bool send_answer(int socket, const std::string& why_not) {
    // A byte before it: an empty message would be the socket's end.
    const std::string text = "." + why_not.substr(0, kMostAnswer);
    return send(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

std::optional<std::string> receive_answer(int socket) {
    std::array<char, 1 + kMostAnswer> text{};
    iovec part{text.data(), text.size()};
    msghdr header{};  // without room for descriptors, which the kernel closes then
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    const ssize_t got = receive(socket, header);
    if (got <= 0) {
        return std::nullopt;
    }
    return printable(std::string_view{text.data(), static_cast<size_t>(got)}.substr(1), kMostAnswer);
}

}  // namespace hull
