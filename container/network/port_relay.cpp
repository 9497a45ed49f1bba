#include "container/network/port_relay.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace hull::container {

namespace {

constexpr uint32_t kLoopback = 0x7f00'0001;

/// Of the user network's, one that leads where `port` is to lead, and that this host's loopback reaches.
const PublishedPort* find_like(const std::vector<PublishedPort>& direct, const PublishedPort& port) {
    const auto found = std::ranges::find_if(direct, [&](const PublishedPort& each) {
        const std::string ip = each.host.ip();
        return each.guest_port == port.guest_port && each.is_udp == port.is_udp &&
               (ip == "0.0.0.0" || ip == "127.0.0.1");
    });
    return found == direct.end() ? nullptr : &*found;
}

PublishedPort at_loopback(const PublishedPort& port) {
    PublishedPort result{.host = {kLoopback, 0}, .guest_port = port.guest_port, .is_udp = port.is_udp};
    result.host = SocketAddress::of(result.take().get());
    return result;
}

/// So that who is gone without a word does not keep a place for ever.
void keep_alive(const UniqueFd& socket) {
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace

PortWays PortWays::of(const std::vector<PublishedPort>& ports, const Endpoint* endpoint) {
    PortWays ways;
    std::ranges::copy_if(ports, std::back_inserter(ways.direct),
                         [](const PublishedPort& port) { return !port.host.is_ipv6(); });
    for (const PublishedPort& port : ports) {
        if (!port.host.is_ipv6()) {
            continue;
        }
        if (endpoint != nullptr) {
            ways.relayed.push_back({port, {endpoint->address, port.guest_port}});
            continue;
        }
        if (find_like(ways.direct, port) == nullptr) {
            ways.direct.push_back(at_loopback(port));
        }
        ways.relayed.push_back({port, {kLoopback, find_like(ways.direct, port)->host.port()}});
    }
    return ways;
}

PortRelay::PortRelay(const std::vector<PortWays::Relayed>& ports) {
    for (const PortWays::Relayed& each : ports) {
        UniqueFd socket = each.port.take();
        each.port.listen_at(socket);
        if (each.port.is_udp) {
            datagrams_.add(std::move(socket), each.to);
        } else {
            listeners_.push_back({std::move(socket), each.to});
        }
    }
}

PortRelay::~PortRelay() {
    if (thread_.joinable()) {
        signal_eventfd(stop_.get());
        thread_.join();
    }
}

void PortRelay::start() {
    loop_.watch(stop_.get(), [this] { loop_.stop(); });
    listen_to_all();
    try {
        thread_ = std::thread{[this] {
            prctl(PR_SET_NAME, "relay");
            loop_.run();
        }};
    } catch (const std::system_error& error) {
        throw Error{ExitStatus::no_resources, "cannot relay a container's ports", error.code().message()};
    }
}

void PortRelay::listen_to_all() {
    for (const Listener& listener : listeners_) {
        loop_.watch(listener.socket.get(), [this, &listener] { accept(listener); });
    }
}

void PortRelay::accept(const Listener& listener) {
    UniqueFd client{accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    UniqueFd guest{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!client.valid() || !guest.valid()) {
        // The host has no descriptors left: it is asked again, but not all the time.
        constexpr int kMoment = 100;
        poll(nullptr, 0, client.valid() || errno == EMFILE || errno == ENFILE ? kMoment : 0);
        return;
    }
    keep_alive(client);
    keep_alive(guest);
    // What is sent before it is connected waits; if it cannot be, reading and writing fail.
    if (connect(guest.get(), listener.to.get(), listener.to.size()) == 0 || errno == EINPROGRESS) {
        carry(std::move(client), std::move(guest));
    }
}

void PortRelay::carry(UniqueFd client, UniqueFd guest) {
    UniqueFd client_again = duplicate(client.get());
    UniqueFd guest_again = duplicate(guest.get());
    if (!client_again.valid() || !guest_again.valid()) {
        return;
    }
    const auto at = connections_.emplace(connections_.end());
    const auto begin = [&](std::optional<StreamPump>& pump, UniqueFd from, UniqueFd to) {
        pump.emplace(loop_, std::move(from), std::move(to), [this, at, &pump] {
            pump.reset();
            if (!at->there && !at->back) {
                connections_.erase(at);
                listen_to_all();
            }
        });
    };
    begin(at->there, std::move(client), std::move(guest));
    begin(at->back, std::move(guest_again), std::move(client_again));
    if (connections_.size() == kMostConnections) {
        for (const Listener& listener : listeners_) {
            loop_.forget(listener.socket.get());
        }
    }
}

}  // namespace hull::container
