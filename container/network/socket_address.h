// An address and a port, as the kernel takes them.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hull::container {

/// Of IPv4 or IPv6; 0.0.0.0 and port 0 where nothing is said. A plain value.
class SocketAddress {
  public:
    SocketAddress() : SocketAddress{0, 0} {}
    /// `ip` is of IPv4 and of the host's order: 127.0.0.1 is 0x7f000001.
    SocketAddress(uint32_t ip, uint16_t port);
    /// "10.1.2.3" or "fe80::1". Nothing where `ip` is something else.
    static std::optional<SocketAddress> parse(const std::string& ip, uint16_t port);
    /// What a socket of one of the two is bound to.
    static SocketAddress of(int socket);

    [[nodiscard]] bool is_ipv6() const { return storage_.ss_family == AF_INET6; }
    [[nodiscard]] std::string ip() const;
    [[nodiscard]] uint16_t port() const;
    /// As a socket's call wants it.
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
    [[nodiscard]] socklen_t size() const { return is_ipv6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in); }

  private:
    sockaddr_storage storage_{};
};

/// This host's of IPv4, without ports.
std::vector<std::string> own_addresses();

}  // namespace hull::container
