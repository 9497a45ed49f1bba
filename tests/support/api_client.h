// A server of the daemon's and clients of it that may send anything.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/unix_address.h"
#include "container/api/http_server.h"
#include "tests/support/files.h"

namespace hull::test {

/// Serves at a socket of its own, until end() or its own end.
class ApiRig {
  public:
    explicit ApiRig(container::HttpServer::Handler handler)
        : server_{make_listener(address_), std::move(handler)}, thread_{[this] {
              server_.run(stop_.get());
          }} {}
    ApiRig(const ApiRig&) = delete;
    ApiRig& operator=(const ApiRig&) = delete;
    ~ApiRig() { end(); }

    void end() {
        if (thread_.joinable()) {
            signal_eventfd(stop_.get());
            thread_.join();
        }
    }

    [[nodiscard]] UniqueFd connect() const {
        UniqueFd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        EXPECT_EQ(address_.connect(fd.get()), 0);
        return fd;
    }
    /// What is answered to some bytes, behind which the client sends nothing more, until the connection ends.
    [[nodiscard]] std::string ask(std::string_view bytes) const {
        const UniqueFd fd = connect();
        while (!bytes.empty()) {
            const ssize_t sent = send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) {
                break;  // a server that has had enough of them closes before they have all come
            }
            bytes.remove_prefix(static_cast<size_t>(sent));
        }
        shutdown(fd.get(), SHUT_WR);
        std::string text;
        char part[4096];
        for (ssize_t got = 0; (got = recv(fd.get(), part, sizeof part, 0)) > 0;) {
            text.append(part, static_cast<size_t>(got));
        }
        return text;
    }
    /// The same for a request without a body: "GET /_ping".
    [[nodiscard]] std::string request(const std::string& line, const std::string& headers = "") const {
        return ask(line + " HTTP/1.1\r\nHost: docker\r\n" + headers + "\r\n");
    }
    [[nodiscard]] std::string socket_path() const { return path_; }

  private:
    static UniqueFd make_listener(const UnixAddress& address) {
        UniqueFd listener{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        EXPECT_EQ(address.bind(listener.get()), 0);
        EXPECT_EQ(listen(listener.get(), 16), 0);
        return listener;
    }

    const TemporaryFolder folder_;
    const std::string path_ = (folder_.path() / "socket").string();
    const UnixAddress address_ = *UnixAddress::at(path_);
    const UniqueFd stop_ = make_eventfd();
    container::HttpServer server_;
    std::thread thread_;
};

}  // namespace hull::test
