// An HTTP server on the loopback that says what a test wants, be it wrong.
#pragma once

#include <poll.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "tests/support/sockets.h"

namespace hull::test {

struct HttpRequest {
    std::string method;
    std::string path;     ///< with its query
    std::string headers;  ///< all of them
    std::string body{};   ///< of the length that they say

    /// Empty where there is none.
    [[nodiscard]] std::string header(const std::string& name) const {
        for (size_t at = 0; at < headers.size();) {
            const size_t end = std::min(headers.find("\r\n", at), headers.size());
            if (strncasecmp(headers.data() + at, (name + ": ").c_str(), name.size() + 2) == 0) {
                return headers.substr(at + name.size() + 2, end - at - name.size() - 2);
            }
            at = end + 2;
        }
        return "";
    }
};

struct HttpAnswer {
    int status = 200;
    std::string body{};
    std::vector<std::string> headers{};
    size_t said_size = SIZE_MAX;             ///< another Content-Length than the body's
    std::chrono::milliseconds pause{0};      ///< behind each of these
    size_t bytes_between_pauses = SIZE_MAX;  ///< of the body
};

/// Closes each connection behind its answer. Ends, and everything with it, when it is destroyed.
class HttpServer {
  public:
    using Answer = std::function<HttpAnswer(const HttpRequest&)>;

    explicit HttpServer(Answer answer)
        : answer_{std::move(answer)}, listener_{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_in address = at("127.0.0.1", 0);
        socklen_t size = sizeof address;
        if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
            listen(listener_.get(), 100) != 0 ||
            getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
            throw std::runtime_error{"no server"};
        }
        port_ = ntohs(address.sin_port);
        thread_ = std::jthread{[this](const std::stop_token& stop) { accept_all(stop); }};
    }

    [[nodiscard]] std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
    /// What was asked for so far, as "METHOD PATH".
    [[nodiscard]] std::vector<HttpRequest> requests() const {
        const std::lock_guard lock{mutex_};
        return requests_;
    }

  private:
    void accept_all(const std::stop_token& stop) {
        std::vector<std::jthread> connections;
        while (!stop.stop_requested()) {
            pollfd entry{listener_.get(), POLLIN, 0};
            if (poll(&entry, 1, 10) == 1) {
                connections.emplace_back(
                    [this, fd = UniqueFd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)}](
                        const std::stop_token& end) { serve(fd.get(), end); });
            }
        }
    }

    /// Adds what has come. False where nothing will any more.
    static bool receive(int fd, const std::stop_token& stop, std::string& text) {
        pollfd entry{fd, POLLIN, 0};
        while (poll(&entry, 1, 10) == 0) {
            if (stop.stop_requested()) {
                return false;
            }
        }
        std::array<char, 65'536> part;
        const ssize_t got = read(fd, part.data(), part.size());
        text.append(part.data(), static_cast<size_t>(std::max<ssize_t>(got, 0)));
        return got > 0;
    }

    void serve(int fd, const std::stop_token& stop) {
        std::string text;
        while (text.find("\r\n\r\n") == std::string::npos) {
            if (!receive(fd, stop, text) || text.size() > 65'536 + 65'536) {
                return;
            }
            if (text.front() < 'A' || text.front() > 'Z') {
                return;  // a client that would like TLS
            }
        }
        const size_t line = text.find("\r\n");
        const size_t space = text.find(' ');
        HttpRequest request{.method = text.substr(0, space),
                            .path = text.substr(space + 1, text.find(' ', space + 1) - space - 1),
                            .headers = text.substr(line + 2)};
        const size_t end = request.headers.find("\r\n\r\n") + 4;
        request.body = request.headers.substr(end);
        request.headers.resize(end);
        const std::string length = request.header("Content-Length");
        while (request.body.size() < (length.empty() ? 0 : std::stoul(length))) {
            if (!receive(fd, stop, request.body)) {
                return;
            }
        }
        const HttpAnswer answer = [&] {
            const std::lock_guard lock{mutex_};
            requests_.push_back(request);
            return answer_(request);
        }();
        std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " So\r\nConnection: close\r\n";
        const size_t size = answer.said_size == SIZE_MAX ? answer.body.size() : answer.said_size;
        head += "Content-Length: " + std::to_string(size) + "\r\n";
        for (const std::string& header : answer.headers) {
            head += header + "\r\n";
        }
        head += "\r\n";
        send_all(fd, head);
        for (size_t at = 0; request.method != "HEAD" && at < answer.body.size() && !stop.stop_requested();) {
            const std::string piece = answer.body.substr(at, answer.bytes_between_pauses);
            if (!send_all(fd, piece)) {
                return;
            }
            at += piece.size();
            for (auto left = answer.pause; left.count() > 0 && !stop.stop_requested();) {
                constexpr std::chrono::milliseconds kStep{10};
                std::this_thread::sleep_for(std::min(left, kStep));
                left -= std::min(left, kStep);
            }
        }
        shutdown(fd, SHUT_WR);
    }

    static bool send_all(int fd, std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) {
                return false;
            }
            bytes.remove_prefix(static_cast<size_t>(sent));
        }
        return true;
    }

    Answer answer_;
    UniqueFd listener_;
    uint16_t port_ = 0;
    mutable std::mutex mutex_;
    std::vector<HttpRequest> requests_;
    std::jthread thread_;
};

}  // namespace hull::test
