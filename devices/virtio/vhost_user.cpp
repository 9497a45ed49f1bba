#include "devices/virtio/vhost_user.h"

#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/unix_address.h"
#include "devices/virtio/vhost_user_layout.h"

namespace hull::virtio {

namespace {

using namespace vhost_user;

using Clock = std::chrono::steady_clock;

/// So many times as long as anything else the guest's memory may take.
constexpr int kMemoryPatience = 6;

tl::unexpected<std::string> failure(std::string why) {
    return tl::unexpected{std::move(why)};
}

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span{&value, 1});
}

/// Sleeps until the socket can take or give something; false when `until` has passed.
bool wait_for(int socket, short what, Clock::time_point until) {
    for (;;) {
        const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
        pollfd entry{socket, what, 0};
        const int ready = poll(&entry, 1, static_cast<int>(std::max<int64_t>(rest.count(), 0)));
        if (ready > 0) {
            return true;
        }
        if (ready == 0 && Clock::now() >= until) {
            return false;
        }
    }
}

/// Whether an eventfd's counter is not full.
bool has_room(int fd) {
    pollfd entry{fd, POLLOUT, 0};
    return poll(&entry, 1, 0) > 0 && (entry.revents & POLLOUT) != 0;
}

/// As recv(2), with the one descriptor that may come; the kernel closes those for which there is no room.
ssize_t receive_some(int socket, std::span<std::byte> target, UniqueFd* fd) {
    iovec data{target.data(), target.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_LEN(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (fd != nullptr) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
    }
    const ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const cmsghdr* rights = fd != nullptr && got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
    if (rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
        rights->cmsg_len == CMSG_LEN(sizeof(int))) {
        int number = -1;
        std::memcpy(&number, CMSG_DATA(rights), sizeof number);
        *fd = UniqueFd{number};
    }
    return got;
}

/// Fills `target` from the socket.
VhostUserResult<void> receive_all(int socket, std::span<std::byte> target, Clock::time_point until,
                                  UniqueFd* fd) {
    while (!target.empty()) {
        const ssize_t got = receive_some(socket, target, fd);
        if (got > 0) {
            target = target.subspan(static_cast<size_t>(got));
        } else if (got == 0) {
            return failure("it has closed the connection");
        } else if (errno == EAGAIN) {
            if (!wait_for(socket, POLLIN, until)) {
                return failure("it does not answer");
            }
        } else if (errno != EINTR) {
            return failure(errno_text(errno));
        }
    }
    return {};
}

}  // namespace

VhostUserResult<UniqueFd> connect_vhost_user(const std::filesystem::path& path) {
    const auto address = UnixAddress::at(path);
    if (!address) {
        return failure(address.error());
    }
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    // A server whose queue of connections is full would let it wait, hence a limit.
    const timeval patience{.tv_sec = VhostUser::kPatience.count(), .tv_usec = 0};
    if (!socket.valid() ||
        setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
        return failure(errno_text(errno));
    }
    if (const int cause = address->connect(socket.get()); cause != 0) {
        return failure(cause == EAGAIN ? "it does not take the connection" : errno_text(cause));
    }
    return socket;
}

UniqueFd find_vhost_user(const std::filesystem::path& path) {
    const auto address = UnixAddress::at(path);
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!address || address->connect(socket.get()) != 0 || fcntl(socket.get(), F_SETFL, 0) != 0) {
        socket.reset();
    }
    return socket;
}

VhostUserResult<VhostUser> VhostUser::open(UniqueFd socket, const VhostUserNeeds& needs,
                                           std::chrono::milliseconds patience) {
    VhostUser server{std::move(socket), patience};
    server.give_time();
    if (auto done = server.negotiate(needs); !done) {
        return failure(done.error());
    }
    return server;
}

VhostUserResult<void> VhostUser::negotiate(const VhostUserNeeds& needs) {
    const auto features = ask_number(kGetFeatures);
    if (!features) {
        return failure(features.error());
    }
    if ((*features & feature(kProtocolFeatures)) == 0 || (*features & feature(VIRTIO_F_VERSION_1)) == 0) {
        return failure("it speaks a vhost-user from before protocol features or VIRTIO 1.0");
    }
    features_ = *features & ~feature(kProtocolFeatures);
    const auto protocol = ask_number(kGetProtocolFeatures);
    if (!protocol) {
        return failure(protocol.error());
    }
    const uint64_t wanted = feature(kMultiQueue) | feature(kReplyAck) | feature(kLogShmfd) |
                            (needs.configuration_size > 0 ? feature(kConfig) : 0) |
                            (needs.inflight ? feature(kInflightFd) : 0);
    const uint64_t agreed = *protocol & wanted;
    if (auto done = tell(kSetProtocolFeatures, bytes_of(agreed)); !done) {
        return done;
    }
    acknowledges_ = (agreed & feature(kReplyAck)) != 0;
    notes_inflight_ = (agreed & feature(kInflightFd)) != 0;
    can_log_ = (agreed & feature(kLogShmfd)) != 0 && (*features & feature(kLogAll)) != 0;
    if ((agreed & feature(kMultiQueue)) != 0) {
        const auto queues = ask_number(kGetQueueNum);
        if (!queues || *queues == 0) {
            return failure(queues ? "it serves no queues" : queues.error());
        }
        most_queues_ = *queues;
    }
    if (auto done = tell(kSetOwner, {}); !done) {
        return done;
    }
    if (needs.configuration_size == 0) {
        return {};
    }
    if ((agreed & feature(kConfig)) == 0) {
        return failure("it has no configuration space");
    }
    return ask_configuration(needs.configuration_size);
}

VhostUserResult<void> VhostUser::ask_configuration(size_t size) {
    std::vector<std::byte> message(sizeof(ConfigHeader) + size);
    const ConfigHeader wanted{.offset = 0, .size = static_cast<uint32_t>(size), .flags = 0};
    std::memcpy(message.data(), &wanted, sizeof wanted);
    if (auto sent = send(kGetConfig, 0, message, {}); !sent) {
        return sent;
    }
    if (auto received = receive(kGetConfig, message); !received) {
        return received;
    }
    ConfigHeader given{};
    std::memcpy(&given, message.data(), sizeof given);
    if (given.offset != 0 || given.size != size) {
        return failure("it answers with another part of the configuration space");
    }
    configuration_.assign(message.begin() + sizeof given, message.end());
    return {};
}

VhostUserResult<void> VhostUser::start(uint64_t features, const GuestMemory& memory,
                                       std::span<const VhostUserRing> rings, VhostUserInflight& inflight) {
    give_time();
    const auto log = can_log_ ? memory.write_log() : std::nullopt;
    const uint64_t accepted =
        (features & ~feature(kLogAll)) | feature(kProtocolFeatures) | (log ? feature(kLogAll) : 0);
    auto done = tell(kSetFeatures, bytes_of(accepted));
    if (done && notes_inflight_) {
        done = hand_over_inflight(rings, inflight);
    }
    if (done) {
        done = share_memory(memory);
    }
    if (done && log) {
        done = share_log(*log);
    }
    for (const VhostUserRing& ring : rings) {
        if (done) {
            done = start_ring(ring, memory);
        }
    }
    for (const VhostUserRing& ring : rings) {
        if (done) {
            done = tell(kSetVringEnable, bytes_of(VringState{.index = ring.index, .num = 1}));
        }
        // A kick starts a ring, and one that came before would be missed. Where one before has filled the
        // counter, so that this would wait, there is a kick.
        if (has_room(ring.kick_fd)) {
            signal_eventfd(ring.kick_fd);
        }
    }
    return done;
}

VhostUserResult<void> VhostUser::hand_over_inflight(std::span<const VhostUserRing> rings,
                                                    VhostUserInflight& inflight) {
    if (!inflight.fd.valid()) {
        auto made = make_inflight(rings);
        if (!made) {
            return failure(made.error());
        }
        inflight = std::move(*made);
    }
    const int fd = inflight.fd.get();
    return tell(kSetInflightFd, bytes_of(inflight.place), std::span{&fd, 1});
}

VhostUserResult<VhostUserInflight> VhostUser::make_inflight(std::span<const VhostUserRing> rings) {
    Inflight wanted{};
    for (const VhostUserRing& ring : rings) {
        wanted.queues = std::max(wanted.queues, static_cast<uint16_t>(ring.index + 1));
        wanted.queue_size = std::max(wanted.queue_size, ring.queue->size());
    }
    VhostUserInflight made;
    auto done = send(kGetInflightFd, 0, bytes_of(wanted), {});
    if (done) {
        done = receive(kGetInflightFd, std::as_writable_bytes(std::span{&made.place, 1}), &made.fd);
    }
    if (!done) {
        return failure(done.error());
    }
    // It is no harm to this process whatever it is, but would be to the back end that gets it next.
    struct stat found {};
    const uint64_t size = made.fd.valid() && fstat(made.fd.get(), &found) == 0 && S_ISREG(found.st_mode)
                              ? static_cast<uint64_t>(found.st_size)
                              : 0;
    const Inflight& place = made.place;
    if (place.queues != wanted.queues || place.queue_size != wanted.queue_size || place.mmap_size == 0 ||
        place.mmap_offset > size || place.mmap_size > size - place.mmap_offset) {
        return failure("there is no place for its note of requests in flight where it says that there is");
    }
    return made;
}

VhostUserResult<void> VhostUser::share_memory(const GuestMemory& memory) {
    MemoryTable table{};
    std::array<int, kMostRegions> fds{};
    for (const GuestMemory::Region& region : memory.regions()) {
        if (table.count == kMostRegions || !region.fd.valid()) {
            return failure("the guest's memory cannot be shared");
        }
        table.regions[table.count] = {.guest_address = raw(region.range.start()),
                                      .size = region.range.size(),
                                      .user_address = reinterpret_cast<uint64_t>(region.mapping.data()),
                                      .mmap_offset = 0};
        fds[table.count++] = region.fd.get();
    }
    const size_t size = offsetof(MemoryTable, regions) + table.count * sizeof(Region);
    // One that locks what it maps, as DPDK's programs do, touches every page of it first.
    give_time(kMemoryPatience);
    auto done = tell(kSetMemTable, bytes_of(table).first(size), std::span{fds}.first(table.count));
    give_time();
    return done;
}

VhostUserResult<void> VhostUser::share_log(const GuestMemory::WriteLog& log) {
    // Its answer, which comes whether it was asked to acknowledge or not, says nothing.
    uint64_t any = 0;
    auto done = send(kSetLogBase, 0, bytes_of(Log{.mmap_size = log.bits.size(), .mmap_offset = 0}),
                     std::span{&log.fd, 1});
    return done ? receive(kSetLogBase, std::as_writable_bytes(std::span{&any, 1})) : done;
}

VhostUserResult<void> VhostUser::start_ring(const VhostUserRing& ring, const GuestMemory& memory) {
    const VirtQueue::Areas areas = ring.queue->areas();
    const VringAddr addresses{.index = ring.index,
                              .flags = can_log_ && memory.is_logged() ? kVringIsLogged : 0,
                              .descriptor = reinterpret_cast<uint64_t>(areas.descriptors),
                              .used = reinterpret_cast<uint64_t>(areas.used),
                              .available = reinterpret_cast<uint64_t>(areas.available),
                              .log = raw(memory.address_of(areas.used).value())};
    const uint64_t index = ring.index;
    auto done = tell(kSetVringNum, bytes_of(VringState{.index = ring.index, .num = ring.queue->size()}));
    if (done) {
        done = tell(kSetVringBase,
                    bytes_of(VringState{.index = ring.index, .num = ring.queue->next_available()}));
    }
    if (done) {
        done = tell(kSetVringAddr, bytes_of(addresses));
    }
    if (done) {
        done = tell(kSetVringCall, bytes_of(index), std::span{&ring.call_fd, 1});
    }
    if (done) {
        done = tell(kSetVringErr, bytes_of(index), std::span{&ring.err_fd, 1});
    }
    return done ? tell(kSetVringKick, bytes_of(index), std::span{&ring.kick_fd, 1}) : done;
}

VhostUserResult<void> VhostUser::stop(std::span<const VhostUserRing> rings) {
    give_time();
    for (const VhostUserRing& ring : rings) {
        VringState state{.index = ring.index, .num = 0};
        auto done = tell(kSetVringEnable, bytes_of(state));
        if (done) {
            done = send(kGetVringBase, 0, bytes_of(state), {});
        }
        if (done) {
            done = receive(kGetVringBase, std::as_writable_bytes(std::span{&state, 1}));
        }
        if (!done || state.index != ring.index) {
            return done ? failure("it answers for another queue") : done;
        }
    }
    return {};
}

VhostUserResult<void> VhostUser::tell(uint32_t request, std::span<const std::byte> payload,
                                      std::span<const int> fds) {
    auto done = send(request, acknowledges_ ? kNeedReply : 0, payload, fds);
    if (done && acknowledges_) {
        uint64_t refusal = 0;
        done = receive(request, std::as_writable_bytes(std::span{&refusal, 1}));
        if (done && refusal != 0) {
            return failure("it refuses request " + std::to_string(request));
        }
    }
    return done;
}

VhostUserResult<uint64_t> VhostUser::ask_number(uint32_t request) {
    uint64_t number = 0;
    auto done = send(request, 0, {}, {});
    if (done) {
        done = receive(request, std::as_writable_bytes(std::span{&number, 1}));
    }
    if (!done) {
        return failure(done.error());
    }
    return number;
}

VhostUserResult<void> VhostUser::send(uint32_t request, uint32_t flags, std::span<const std::byte> payload,
                                      std::span<const int> fds) {
    std::array<std::byte, sizeof(Header) + sizeof(ConfigHeader) + kMostConfig + sizeof(MemoryTable)> buffer{};
    const Header header{
        .request = request, .flags = kVersion | flags, .size = static_cast<uint32_t>(payload.size())};
    std::memcpy(buffer.data(), &header, sizeof header);
    std::ranges::copy(payload, buffer.begin() + sizeof header);
    std::span<std::byte> rest = std::span{buffer}.first(sizeof header + payload.size());

    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kMostRegions * sizeof(int))> control{};
    bool fds_sent = fds.empty();
    while (!rest.empty()) {
        iovec data{rest.data(), rest.size()};
        msghdr message{};
        message.msg_iov = &data;
        message.msg_iovlen = 1;
        if (!fds_sent) {
            message.msg_control = control.data();
            message.msg_controllen = CMSG_SPACE(fds.size_bytes());
            cmsghdr* rights = CMSG_FIRSTHDR(&message);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(fds.size_bytes());
            std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
        }
        const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            fds_sent = true;
            rest = rest.subspan(static_cast<size_t>(sent));
        } else if (errno == EAGAIN) {
            if (!wait_for(socket_.get(), POLLOUT, until_)) {
                return failure("it does not read what it is sent");
            }
        } else if (errno != EINTR) {
            return failure(errno == EPIPE || errno == ECONNRESET ? "it has closed the connection"
                                                                 : errno_text(errno));
        }
    }
    return {};
}

VhostUserResult<void> VhostUser::receive(uint32_t request, std::span<std::byte> payload, UniqueFd* fd) {
    Header header{};
    if (auto got = receive_all(socket_.get(), std::as_writable_bytes(std::span{&header, 1}), until_, fd);
        !got) {
        return got;
    }
    if (header.request != request || (header.flags & kVersionMask) != kVersion ||
        (header.flags & kReply) == 0) {
        return failure("what it sends is no answer to request " + std::to_string(request) + " of vhost-user");
    }
    if (header.size != payload.size()) {
        return failure("its answer to request " + std::to_string(request) + " of vhost-user has " +
                       std::to_string(header.size) + " bytes instead of " + std::to_string(payload.size()));
    }
    return receive_all(socket_.get(), payload, until_, nullptr);
}

}  // namespace hull::virtio
