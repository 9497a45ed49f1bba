// What a guest's network is tried with.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <thread>

#include "base/unique_fd.h"
#include "tests/support/sockets.h"

namespace hull::test {

/// Sends back all that each who connects sends, one after the other, on a thread of its own.
class EchoServer {
  public:
    static constexpr uint16_t kPort = 7007;

    explicit EchoServer(const char* address) : listener_{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        const sockaddr_in place = at(address, kPort);
        const int on = 1;
        setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&place), sizeof place) != 0 ||
            listen(listener_.get(), 8) != 0) {
            throw std::runtime_error{"cannot listen on the host's address"};
        }
        thread_ = std::thread{[this] { serve(); }};
    }
    EchoServer(const EchoServer&) = delete;
    EchoServer& operator=(const EchoServer&) = delete;
    ~EchoServer() {
        signal_eventfd(stop_.get());
        thread_.join();
    }

  private:
    /// False where it is time to stop.
    [[nodiscard]] bool wait_for(int fd) const {
        pollfd waits[] = {{fd, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
        poll(waits, 2, -1);
        return waits[1].revents == 0;
    }
    void serve() {
        std::array<char, 65536> bytes{};
        while (wait_for(listener_.get())) {
            const UniqueFd connection{accept(listener_.get(), nullptr, nullptr)};
            ssize_t got = 0;
            while (wait_for(connection.get()) &&
                   (got = read(connection.get(), bytes.data(), bytes.size())) > 0) {
                for (ssize_t sent = 0; sent < got;) {
                    const ssize_t now = send(connection.get(), bytes.data() + sent,
                                             static_cast<size_t>(got - sent), MSG_NOSIGNAL);
                    if (now <= 0) {
                        break;
                    }
                    sent += now;
                }
            }
        }
    }

    UniqueFd listener_;
    UniqueFd stop_ = make_eventfd();
    std::thread thread_;
};

}  // namespace hull::test
