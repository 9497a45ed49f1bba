#include "devices/net/user/user_network.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <limits>
#include <span>
#include <string>

#include "base/error.h"
#include "devices/net/layout.h"

namespace hull::virtio {

namespace {

using Header = virtio_net_hdr_v1;
constexpr size_t kMostFrame = sizeof(Header) + 65535 + 18;
/// Frames from the guest before its answers and the host's sockets get their turn.
constexpr int kBatch = 64;
/// Frames that wait for the guest to take others. What comes beyond them is dropped, as on a wire; a TCP
/// connection has at most a window (64 KiB) under way.
constexpr size_t kMostWaiting = 1024;

int64_t now_ns() {
    return std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count();
}

in_addr address(const char* text) {
    in_addr result{};
    inet_pton(AF_INET, text, &result);
    return result;
}

in6_addr address6(const char* text) {
    in6_addr result{};
    inet_pton(AF_INET6, text, &result);
    return result;
}

SlirpConfig configuration(const UserNetworkSettings& settings) {
    SlirpConfig config{};
    config.version = SLIRP_CONFIG_VERSION_MAX;
    config.restricted = settings.restricted ? 1 : 0;
    config.in_enabled = true;
    config.vnetwork = address("10.0.2.0");
    config.vnetmask = address("255.255.255.0");
    config.vhost = address("10.0.2.2");
    config.vnameserver = address("10.0.2.3");
    config.vdhcp_start = address("10.0.2.15");
    config.in6_enabled = true;
    config.vprefix_addr6 = address6("fec0::");
    config.vprefix_len = 64;
    config.vhost6 = address6("fec0::2");
    config.vnameserver6 = address6("fec0::3");
    config.if_mtu = settings.mtu;
    config.if_mru = settings.mtu;
    config.disable_host_loopback = !settings.host_loopback;
    return config;
}

/// Whether an Ethernet frame has a part of an IPv4 packet (RFC 791, 3.1: more fragments, or an offset).
bool is_fragment(std::span<const std::byte> frame) {
    constexpr size_t kFlags = sizeof(ether_header) + offsetof(ip, ip_off);
    const auto at = [&](size_t offset) {
        return std::to_integer<unsigned>(frame[offset]) << 8 | std::to_integer<unsigned>(frame[offset + 1]);
    };
    return frame.size() >= sizeof(ether_header) + sizeof(ip) &&
           at(offsetof(ether_header, ether_type)) == ETHERTYPE_IP && (at(kFlags) & (IP_MF | IP_OFFMASK)) != 0;
}

/// How long libslirp lets its caller wait at most, in milliseconds, where it waits for nothing itself: TCP's
/// streams (forwarded ports that listen are such) and fragments have it called sooner.
constexpr uint32_t kSlirpMost = 1000;

short to_poll(int events) {
    const auto bit = [&](int slirp, short poll) {
        return static_cast<short>((events & slirp) != 0 ? poll : 0);
    };
    return static_cast<short>(bit(SLIRP_POLL_IN, POLLIN) | bit(SLIRP_POLL_OUT, POLLOUT) |
                              bit(SLIRP_POLL_PRI, POLLPRI) | bit(SLIRP_POLL_ERR, POLLERR) |
                              bit(SLIRP_POLL_HUP, POLLHUP));
}

int from_poll(short events) {
    const auto bit = [&](short poll, int slirp) { return (events & poll) != 0 ? slirp : 0; };
    return bit(POLLIN, SLIRP_POLL_IN) | bit(POLLOUT, SLIRP_POLL_OUT) | bit(POLLPRI, SLIRP_POLL_PRI) |
           bit(POLLERR, SLIRP_POLL_ERR) | bit(POLLHUP, SLIRP_POLL_HUP);
}

}  // namespace

const SlirpCb UserNetwork::kCallbacks = [] {
    SlirpCb calls{};
    calls.send_packet = [](const void* frame, size_t size, void* network) {
        static_cast<UserNetwork*>(network)->send_frame(frame, size);
        return static_cast<ssize_t>(size);
    };
    calls.guest_error = [](const char*, void*) {};  // the guest's own affair
    calls.clock_get_ns = [](void*) { return now_ns(); };
    calls.timer_new_opaque = [](SlirpTimerId id, void* opaque, void* network) -> void* {
        auto& timers = static_cast<UserNetwork*>(network)->timers_;
        return &timers.emplace_back(Timer{.id = id, .opaque = opaque, .due = {}});
    };
    calls.timer_free = [](void* timer, void* network) {
        static_cast<UserNetwork*>(network)->timers_.remove_if([&](Timer& each) { return &each == timer; });
    };
    calls.timer_mod = [](void* timer, int64_t due, void*) { static_cast<Timer*>(timer)->due = due; };
    // The loop asks libslirp each time what it waits for.
    calls.register_poll_fd = [](int, void*) {};
    calls.unregister_poll_fd = [](int, void*) {};
    calls.notify = [](void*) {};
    return calls;
}();

UserNetwork::UserNetwork(const UserNetworkSettings& settings, UniqueFd link)
    : link_{std::move(link)}, frame_(kMostFrame) {
    const SlirpConfig config = configuration(settings);
    slirp_.reset(slirp_new(&config, &kCallbacks, this));
    if (!slirp_) {
        throw Error{ExitStatus::internal_failure, "cannot make a user network",
                    "libslirp refuses the settings"};
    }
    for (const PortForward& forward : settings.forwards) {
        add_forward(forward);
    }
}

void UserNetwork::add_forward(const PortForward& forward) {
    const in_addr guest{};  // whom DHCP gives the first address
    if (slirp_add_hostfwd(slirp_.get(), forward.udp ? 1 : 0, forward.host_address, forward.host_port, guest,
                          forward.guest_port) == 0) {
        return;
    }
    const int cause = errno;
    const char* advice = cause == EADDRINUSE      ? "end the program that uses the port, or take another"
                         : cause == EACCES        ? "take a port from 1024 on, or be root"
                         : cause == EADDRNOTAVAIL ? "give an address that this host has"
                                                  : "";
    throw Error{ExitStatus::no_resources, "cannot forward '" + forward.text() + "' to the guest",
                errno_text(cause), advice};
}

void UserNetwork::serve() {
    while (!link_is_gone_) {
        wait();
    }
}

void UserNetwork::wait() {
    polls_.assign(1, {link_.get(), static_cast<short>(POLLIN | (waiting_.empty() ? 0 : POLLOUT)), 0});
    uint32_t timeout = std::numeric_limits<int>::max();
    for (const Timer& timer : timers_) {
        if (timer.due) {
            const int64_t left = std::max<int64_t>(0, *timer.due - now_ns() / 1'000'000);
            timeout = static_cast<uint32_t>(std::min<int64_t>(timeout, left));
        }
    }
    const uint32_t until_timer = timeout;
    slirp_pollfds_fill(
        slirp_.get(), &timeout,
        [](int fd, int events, void* network) {
            auto& polls = static_cast<UserNetwork*>(network)->polls_;
            // poll(2) tells errors and ends by itself.
            polls.push_back({fd, static_cast<short>(to_poll(events) & ~(POLLERR | POLLHUP)), 0});
            return static_cast<int>(polls.size() - 1);
        },
        this);
    // Without sockets, and once it was left alone for so long, it has nothing to do there.
    if (is_quiet_ && polls_.size() == 1 && timeout == kSlirpMost) {
        timeout = until_timer;
    }
    const int ready = poll(polls_.data(), polls_.size(), static_cast<int>(timeout));
    is_quiet_ = ready == 0;
    slirp_pollfds_poll(
        slirp_.get(), ready < 0 ? 1 : 0,
        [](int index, void* network) {
            return from_poll(
                static_cast<UserNetwork*>(network)->polls_.at(static_cast<size_t>(index)).revents);
        },
        this);
    run_timers();
    if (ready > 0 && (polls_[0].revents & POLLOUT) != 0) {
        send_waiting();
    }
    if (ready > 0 && (polls_[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        take_frames();
    }
}

void UserNetwork::run_timers() {
    const int64_t now = now_ns() / 1'000'000;
    for (Timer& timer : timers_) {
        if (timer.due && *timer.due <= now) {
            timer.due.reset();
            slirp_handle_timer(slirp_.get(), timer.id, timer.opaque);
            return;  // it may have changed the list; the others come with the next round
        }
    }
}

void UserNetwork::take_frames() {
    for (int frames = 0; frames < kBatch; ++frames) {
        const ssize_t size = recv(link_.get(), frame_.data(), frame_.size(), MSG_DONTWAIT);
        if (size <= 0) {
            link_is_gone_ = size == 0 || (errno != EAGAIN && errno != EINTR);
            return;
        }
        if (static_cast<size_t>(size) <= sizeof(Header)) {
            continue;
        }
        // No offloads were offered to the driver (VIRTIO 1.2, 5.1.6.2), so its header says nothing.
        const std::span<const std::byte> frame =
            std::span{frame_}.first(static_cast<size_t>(size)).subspan(sizeof(Header));
        // Where a packet's last fragment is not the last to come, libslirp 4.7.0 writes to an address that is
        // taken from the guest's bytes. With the MTU of this network there is nothing to cut into fragments.
        if (!is_fragment(frame)) {
            slirp_input(slirp_.get(), reinterpret_cast<const uint8_t*>(frame.data()),
                        static_cast<int>(frame.size()));
        }
    }
}

void UserNetwork::send_frame(const void* frame, size_t size) {
    // libslirp has just made the checksums: the guest need not look (5.1.6.4.1).
    Header header{};
    header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
    if (waiting_.empty()) {
        iovec parts[] = {{&header, sizeof header}, {const_cast<void*>(frame), size}};
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        if (sendmsg(link_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != EAGAIN) {
            return;
        }
    }
    if (waiting_.size() < kMostWaiting) {
        std::vector<std::byte>& kept = waiting_.emplace_back();
        const auto head = std::as_bytes(std::span{&header, 1});
        kept.assign(head.begin(), head.end());
        const auto* bytes = static_cast<const std::byte*>(frame);
        kept.insert(kept.end(), bytes, bytes + size);
    }
}

void UserNetwork::send_waiting() {
    while (!waiting_.empty()) {
        const std::vector<std::byte>& frame = waiting_.front();
        if (send(link_.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            errno == EAGAIN) {
            return;
        }
        waiting_.pop_front();
    }
}

}  // namespace hull::virtio
