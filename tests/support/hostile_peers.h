// Programs at the other side of a hostile guest's devices: they take what comes, send some of it back, call
// the guest, and come and go. Without them streams and ports never get far.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/sockets.h"

namespace hull::test {

class HostilePeers {
  public:
    /// Beside the sockets of `vsock` and `port` (paths; the machine makes them), of which the first gets
    /// listeners at the ports that guest/hostile connects to, and `links` (they do not block), each of which
    /// gets back what it sends. `look` is called many times a second. Until it is destroyed.
    HostilePeers(const std::string& vsock, std::string port, std::vector<int> links,
                 std::function<void()> look)
        : vsock_{vsock}, port_{std::move(port)}, links_{std::move(links)}, look_{std::move(look)} {
        for (const char* number : {"_1024", "_1025"}) {
            listeners_.push_back(listen_unix(vsock + number, SOCK_NONBLOCK));
        }
        thread_ = std::thread{[this] {
            while (!stop_) {
                take_turn();
            }
        }};
    }
    HostilePeers(const HostilePeers&) = delete;
    HostilePeers& operator=(const HostilePeers&) = delete;
    ~HostilePeers() {
        stop_ = true;
        thread_.join();
    }

  private:
    static constexpr size_t kMostCalls = 6;
    static constexpr size_t kMostStreams = 40;

    bool one_in(unsigned times) { return chance_() % times == 0; }

    void call(const std::string& path, const std::string& greeting) {
        if (UniqueFd fd = connect_unix(path, SOCK_NONBLOCK); fd.valid()) {
            send(fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
            streams_.push_back(std::move(fd));
        }
    }

    /// False at the end of a stream.
    static bool echo(int fd) {
        std::array<char, 16384> part{};
        const ssize_t got = read(fd, part.data(), part.size());
        if (got <= 0) {
            return got < 0 && errno == EAGAIN;
        }
        // What there is no room for is lost: the guest does not mind.
        [[maybe_unused]] const ssize_t sent =
            send(fd, part.data(), static_cast<size_t>(got), MSG_NOSIGNAL | MSG_DONTWAIT);
        return true;
    }

    void take_turn() {
        look_();
        if (streams_.size() < kMostCalls) {
            const std::string text(chance_() % 3000, 'x');
            one_in(4) ? call(port_, text)
                      : call(vsock_, "CONNECT " + std::to_string(chance_() % 8) + "\n" + text);
        }
        std::vector<pollfd> polled;
        for (const int link : links_) {
            polled.push_back({link, POLLIN, 0});
        }
        for (const UniqueFd& listener : listeners_) {
            polled.push_back({listener.get(), POLLIN, 0});
        }
        for (const UniqueFd& stream : streams_) {
            polled.push_back({stream.get(), POLLIN, 0});
        }
        constexpr int kTick = 20;  // milliseconds
        poll(polled.data(), polled.size(), kTick);
        for (const int link : links_) {
            echo(link);
        }
        std::erase_if(streams_, [this](const UniqueFd& stream) { return !echo(stream.get()) || one_in(64); });
        for (const UniqueFd& listener : listeners_) {
            UniqueFd stream{accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
            if (stream.valid() && streams_.size() < kMostStreams) {
                streams_.push_back(std::move(stream));
            }
        }
    }

    const std::string vsock_;
    const std::string port_;
    const std::vector<int> links_;
    const std::function<void()> look_;
    std::minstd_rand chance_{1};
    std::vector<UniqueFd> listeners_;
    std::vector<UniqueFd> streams_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace hull::test
