#include "devices/fs/file_share.h"

#include <linux/fuse.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "devices/fs/fuse_request.h"
#include "devices/fs/share.h"
#include "devices/virtio/queue_worker.h"
#include "devices/virtio/segments.h"

namespace hull::virtio {

namespace {

/// How long a request that is under way may keep a driver from resetting the device.
constexpr int kMostWaitOfResetMs = 1000;

/// Waits until the link is ready; false where the thread is to stop, and it was not for a while.
bool wait_for(int link, short events, int stop_fd) {
    pollfd entries[] = {{link, events, 0}, {stop_fd, POLLIN, 0}};
    while (poll(entries, 2, -1) < 0) {
    }
    if (entries[0].revents == 0) {
        return poll(entries, 1, kMostWaitOfResetMs) > 0;
    }
    return true;
}

}  // namespace

FileShare::FileShare(const std::string& tag, UniqueFd link) : tag_{tag}, link_{std::move(link)} {}

uint32_t FileShare::type() const {
    return VIRTIO_ID_FS;
}

void FileShare::read_configuration(uint64_t offset, std::span<std::byte> data) const {
    const virtio_fs_config config = share_configuration(tag_);
    const auto bytes = std::as_bytes(std::span{&config, 1});
    if (offset < bytes.size()) {
        const std::span<const std::byte> rest = bytes.subspan(static_cast<size_t>(offset));
        std::memcpy(data.data(), rest.data(), std::min(data.size(), rest.size()));
    }
}

void FileShare::activate(Activation activation) {
    try {
        for (ActiveQueue& given : activation.queues) {
            start(std::move(given), activation.driver);
        }
    } catch (...) {
        reset();  // what has started
        throw;
    }
}

void FileShare::start(ActiveQueue given, DriverCalls& driver) {
    const uint16_t index = given.index;
    const bool may_be_answered = index == 1;
    ActiveQueue& queue = queues_[index].emplace(std::move(given));
    workers_[index].emplace(may_be_answered ? "fs" : "fs-forget",
                            [this, may_be_answered, &queue, &driver](int stop_fd) {
                                serve_chains(queue, driver, stop_fd, [&](const DescriptorChain& chain) {
                                    return serve(chain, may_be_answered, stop_fd);
                                });
                            });
}

void FileShare::reset() {
    for (auto& worker : workers_) {
        worker.reset();
    }
    for (auto& queue : queues_) {
        queue.reset();
    }
}

void FileShare::save(StateWriter& /*state*/) const {
    throw Error{ExitStatus::usage, "cannot save the state of the shared folder '" + tag_ + "'",
                "its server knows files by numbers that no other has",
                "have the guest give it up and take it out of the machine before"};
}

uint32_t FileShare::serve(const DescriptorChain& chain, bool may_be_answered, int stop_fd) {
    // What the server takes the header for is what was looked at here, whatever the guest writes meanwhile:
    // both sides agree on whether there is an answer.
    auto header = chain.reader().read<fuse_in_header>();
    if (!header || (!may_be_answered && is_answered(header->opcode))) {
        return refuse_fuse_request(chain);
    }
    std::vector<iovec> pieces{{&*header, sizeof *header}};
    append_part(chain.readable(), sizeof *header, kMostFuseRequest - sizeof *header, pieces);
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = std::min<size_t>(pieces.size(), IOV_MAX);
    while (sendmsg(link_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno != EAGAIN || !wait_for(link_.get(), POLLOUT, stop_fd)) {
            return refuse_fuse_request(chain);
        }
    }
    if (!is_answered(header->opcode)) {
        return 0;
    }
    ++owed_;
    while (owed_ > 1) {  // of requests that were given up
        if (!wait_for(link_.get(), POLLIN, stop_fd) || recv(link_.get(), nullptr, 0, 0) < 0) {
            return refuse_fuse_request(chain);
        }
        --owed_;
    }
    return take_answer(chain, stop_fd);
}

uint32_t FileShare::take_answer(const DescriptorChain& chain, int stop_fd) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(chain.writable().data());
    message.msg_iovlen = std::min<size_t>(chain.writable().size(), IOV_MAX);
    if (!wait_for(link_.get(), POLLIN, stop_fd)) {
        return refuse_fuse_request(chain);
    }
    const ssize_t got = recvmsg(link_.get(), &message, MSG_DONTWAIT);
    --owed_;
    if (got <= 0) {  // the server has ended
        return refuse_fuse_request(chain);
    }
    return static_cast<uint32_t>(got);
}

}  // namespace hull::virtio
