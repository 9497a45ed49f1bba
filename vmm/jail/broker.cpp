#include "vmm/jail/broker.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "base/error.h"

namespace hull::jail {

namespace {

/// How long the machine waits for an answer.
constexpr timeval kPatience{.tv_sec = 1, .tv_usec = 0};
/// Room for a handful of answers; the kernel makes of it the least that it allows.
constexpr int kAnswersRoom = 1;

/// A message with room for one descriptor beside it.
struct Message {
    explicit Message(BrokerRequest& request) : part{&request, sizeof request} {
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
    }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;
    ~Message() = default;

    iovec part;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
};

/// The machine's side of one device's pair.
class BrokerClient {
  public:
    explicit BrokerClient(UniqueFd socket) : socket_{std::move(socket)} {}

    UniqueFd ask(uint32_t port) {
        const BrokerRequest request{.number = ++number_, .port = port};
        // Full where the keeper does not come to it: nobody waits for room.
        if (send(socket_.get(), &request, sizeof request, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof request) {
            return {};
        }
        for (;;) {
            BrokerRequest answer{};
            Message message{answer};
            const ssize_t got = recvmsg(socket_.get(), &message.header, MSG_CMSG_CLOEXEC);
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got != sizeof answer) {
                return {};  // too late, or the keeper is gone
            }
            UniqueFd made;
            const cmsghdr* control = CMSG_FIRSTHDR(&message.header);
            if (control != nullptr && control->cmsg_type == SCM_RIGHTS) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(control), sizeof fd);
                made = UniqueFd{fd};
            }
            if (answer.number == request.number) {
                return made;
            }
            // One that came too late for an earlier request.
        }
    }

  private:
    UniqueFd socket_;
    uint32_t number_ = 0;
};

}  // namespace

Broker::Connect Broker::add(Connect connect) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a socket pair", errno_text(errno),
                    "raise the limit of files (ulimit -n)"};
    }
    UniqueFd keepers_end{ends[0]};
    UniqueFd machines_end{ends[1]};
    setsockopt(keepers_end.get(), SOL_SOCKET, SO_SNDBUF, &kAnswersRoom, sizeof kAnswersRoom);
    setsockopt(machines_end.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    doors_.push_back({std::move(keepers_end), machines_end.get(), std::move(connect)});
    auto client = std::make_shared<BrokerClient>(std::move(machines_end));
    return [client](uint32_t port) { return client->ask(port); };
}

std::vector<int> Broker::machines_descriptors() const {
    std::vector<int> descriptors;
    for (const Door& door : doors_) {
        descriptors.push_back(door.machines_end);
    }
    return descriptors;
}

void Broker::serve(EventLoop& loop) {
    for (Door& door : doors_) {
        loop.watch(door.keepers_end.get(), [&loop, &door] { answer(loop, door); });
    }
}

void Broker::answer(EventLoop& loop, Door& door) {
    BrokerRequest request{};
    // Without room for descriptors: what the machine sends of these is closed by the kernel.
    const ssize_t size = recv(door.keepers_end.get(), &request, sizeof request, MSG_DONTWAIT | MSG_TRUNC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size != sizeof request) {
        loop.forget(door.keepers_end.get());
        door.keepers_end.reset();
        return;
    }
    const UniqueFd made = door.connect(request.port);
    Message message{request};
    if (made.valid()) {
        cmsghdr* control = CMSG_FIRSTHDR(&message.header);
        control->cmsg_level = SOL_SOCKET;
        control->cmsg_type = SCM_RIGHTS;
        control->cmsg_len = CMSG_LEN(sizeof(int));
        const int fd = made.get();
        std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
    } else {
        message.header.msg_controllen = 0;
    }
    [[maybe_unused]] const ssize_t sent =
        sendmsg(door.keepers_end.get(), &message.header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace hull::jail
