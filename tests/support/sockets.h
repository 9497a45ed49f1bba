// The host's side of a guest's network.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

#include "base/unique_fd.h"

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

}  // namespace hull::test
