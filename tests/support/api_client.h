// A server of the daemon's and clients of it that may send anything.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "container/api/http_server.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull::test {

/// Serves at a socket of its own, until end() or its own end.
class ApiRig {
  public:
    explicit ApiRig(
        container::HttpServer::Handler handler,
        container::HttpServer::IsStream is_stream = [](auto&&...) { return false; })
        : server_{listen_unix(path_, SOCK_NONBLOCK), std::move(handler), std::move(is_stream)},
          thread_{[this] { server_.run(stop_.get()); }} {}
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
        UniqueFd fd = connect_unix(path_);
        EXPECT_TRUE(fd.valid());
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
        return read_up_to(fd.get(), SIZE_MAX);
    }
    /// The same for a request without a body: "GET /_ping".
    [[nodiscard]] std::string request(const std::string& line, const std::string& headers = "") const {
        return ask(line + " HTTP/1.1\r\nHost: docker\r\n" + headers + "\r\n");
    }

  private:
    const TemporaryFolder folder_;
    const std::string path_ = (folder_.path() / "socket").string();
    const UniqueFd stop_ = make_eventfd();
    container::HttpServer server_;
    std::thread thread_;
};

}  // namespace hull::test
