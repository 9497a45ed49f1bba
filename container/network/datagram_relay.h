// Datagrams of IPv6, for who has IPv4 only.
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <cstddef>
#include <list>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "container/network/socket_address.h"

namespace hull::container {

/// Passes on what comes to sockets of UDP, and the answers back: each client has a socket of its own to where
/// it is relayed, for as long as one of the two sends something now and then. For the event loop's thread,
/// whose deadline it takes.
class DatagramRelay {
  public:
    static constexpr size_t kMostClients = 256;  ///< one more takes the place of who was silent longest

    /// `loop` outlives it. `patience`: with silence, before a client is forgotten.
    explicit DatagramRelay(EventLoop& loop, std::chrono::milliseconds patience = std::chrono::seconds{90});
    DatagramRelay(const DatagramRelay&) = delete;
    DatagramRelay& operator=(const DatagramRelay&) = delete;
    ~DatagramRelay();

    /// `socket` is bound to an address of IPv6.
    void add(UniqueFd socket, const SocketAddress& to);

    [[nodiscard]] size_t clients() const { return clients_.size(); }

  private:
    using Clock = std::chrono::steady_clock;
    struct Port {
        UniqueFd socket;
        SocketAddress to;
    };
    struct Client {
        const Port* port;
        sockaddr_in6 address;
        in6_pktinfo met_at;  ///< the host's address and interface: it is answered from there
        UniqueFd socket;
        Clock::time_point heard{};
    };
    using Clients = std::list<Client>;

    void take(const Port& port);
    void give_back(Clients::iterator client);
    Clients::iterator find(const Port& port, const sockaddr_in6& address);
    Clients::iterator add_client(const Port& port, const sockaddr_in6& address);
    void hear(Clients::iterator client);
    void forget(Clients::iterator client);
    void forget_silent();

    EventLoop& loop_;
    const std::chrono::milliseconds patience_;
    std::list<Port> ports_;
    Clients clients_;  // who was silent longest first
    std::vector<char> room_;
};

}  // namespace hull::container
