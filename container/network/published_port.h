// A port of a container's at the host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "container/network/socket_address.h"

namespace hull::container {

/// A plain value.
struct PublishedPort {
    SocketAddress host;  ///< where it is at the host; port 0: one that is free
    uint16_t guest_port = 0;
    bool is_udp = false;

    /// "HOSTIP:PORT:GUESTPORT[/udp]", an address of IPv6 in brackets. Throws Error (bad_file) where it is
    /// something else.
    static PublishedPort parse(const std::string& text);
    /// The reverse.
    [[nodiscard]] std::string text() const;

    /// A socket that is bound there; one of IPv6 takes nothing of IPv4. No descriptor, and errno says why,
    /// where it cannot be had.
    [[nodiscard]] UniqueFd bound_socket() const;
    /// As dockerd words it: "Bind for …", of errno.
    [[nodiscard]] std::string why_not_bound() const;
    /// As bound_socket(), but throws Error (no_resources).
    [[nodiscard]] UniqueFd take() const;
    /// Has what take() has answered listen, where it is of TCP: who is only bound does not keep others off.
    /// Throws as take() does.
    void listen_at(const UniqueFd& socket) const;

  private:
    [[noreturn]] void refuse() const;
};

std::vector<PublishedPort> published_ports(const std::vector<std::string>& texts);

/// Whether the host has IPv6, as Docker finds out: who has none is told nothing of it.
bool has_ipv6();

}  // namespace hull::container
