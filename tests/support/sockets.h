// Sockets of the host's.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include "base/unique_fd.h"
#include "base/unix_address.h"

namespace hull::test {

inline sockaddr_in at(const char* address, uint16_t port) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(port);
    inet_pton(AF_INET, address, &result.sin_addr);
    return result;
}

/// What a program on the host gets from a port, over HTTP; empty where nobody answers.
inline std::string fetch(const char* address, uint16_t port) {
    const UniqueFd fd{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const sockaddr_in target = at(address, port);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
        return "";
    }
    const std::string request = "GET /index.html HTTP/1.0\r\n\r\n";
    send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    std::string answer;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = read(fd.get(), part.data(), part.size())) > 0;) {
        answer.append(part.data(), static_cast<size_t>(got));
    }
    return answer;
}

/// A stream connected to the unix socket at `path`; no descriptor where nobody listens there. `flags` as
/// socket(2) takes them.
inline UniqueFd connect_unix(const std::string& path, int flags = 0) {
    UniqueFd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)};
    if (UnixAddress::at(path).value().connect(fd.get()) != 0) {
        fd.reset();
    }
    return fd;
}

/// A socket that listens at `path`. Throws where it cannot.
inline UniqueFd listen_unix(const std::string& path, int flags = 0) {
    constexpr int kBacklog = 1000;
    UniqueFd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)};
    if (UnixAddress::at(path).value().bind(fd.get()) != 0 || listen(fd.get(), kBacklog) != 0) {
        throw std::system_error{errno, std::generic_category(), "cannot listen at " + path};
    }
    return fd;
}

/// Two ends of one stream.
inline std::pair<UniqueFd, UniqueFd> make_socket_pair() {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        throw std::system_error{errno, std::generic_category(), "cannot make a pair of sockets"};
    }
    return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

/// A TCP socket that listens at the loopback, at a port that was free.
struct TcpListener {
    UniqueFd fd{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    uint16_t port = 0;
};
inline TcpListener listen_tcp() {
    TcpListener listener;
    sockaddr_in address = at("127.0.0.1", 0);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    if (bind(listener.fd.get(), generic, size) != 0 || listen(listener.fd.get(), 16) != 0 ||
        getsockname(listener.fd.get(), generic, &size) != 0) {
        throw std::system_error{errno, std::generic_category(), "cannot listen at the loopback"};
    }
    listener.port = ntohs(address.sin_port);
    return listener;
}

}  // namespace hull::test
