#include "container/network/socket_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <string.h>

#include <array>
#include <memory>

namespace hull::container {

SocketAddress::SocketAddress(uint32_t ip, uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(ip);
    address.sin_port = htons(port);
    memcpy(&storage_, &address, sizeof address);
}

std::optional<SocketAddress> SocketAddress::parse(const std::string& ip, uint16_t port) {
    in_addr old{};
    if (inet_pton(AF_INET, ip.c_str(), &old) == 1) {
        return SocketAddress{ntohl(old.s_addr), port};
    }
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    if (inet_pton(AF_INET6, ip.c_str(), &address.sin6_addr) != 1) {
        return std::nullopt;
    }
    SocketAddress result;
    memcpy(&result.storage_, &address, sizeof address);
    return result;
}

SocketAddress SocketAddress::of(int socket) {
    SocketAddress result;
    socklen_t size = sizeof result.storage_;
    getsockname(socket, reinterpret_cast<sockaddr*>(&result.storage_), &size);
    return result;
}

std::string SocketAddress::ip() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* const address =
        is_ipv6() ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(storage_).sin6_addr)
                  : &reinterpret_cast<const sockaddr_in&>(storage_).sin_addr;
    inet_ntop(storage_.ss_family, address, text.data(), text.size());
    return text.data();
}

uint16_t SocketAddress::port() const {
    return ntohs(is_ipv6() ? reinterpret_cast<const sockaddr_in6&>(storage_).sin6_port
                           : reinterpret_cast<const sockaddr_in&>(storage_).sin_port);
}

std::vector<std::string> own_addresses() {
    ifaddrs* first = nullptr;
    getifaddrs(&first);
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all{first, freeifaddrs};
    std::vector<std::string> found;
    for (const ifaddrs* each = all.get(); each != nullptr; each = each->ifa_next) {
        if (each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET) {
            sockaddr_in address{};
            memcpy(&address, each->ifa_addr, sizeof address);
            found.push_back(SocketAddress{ntohl(address.sin_addr.s_addr), 0}.ip());
        }
    }
    return found;
}

}  // namespace hull::container
