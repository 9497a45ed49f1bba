// What packet rules cannot turn: IPv6 at the host to a guest that has none.
#pragma once

#include <list>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "container/network/datagram_relay.h"
#include "container/network/published_port.h"
#include "container/network/subnet.h"
#include "vmm/agent/stream_pump.h"

namespace hull::container {

/// How a container's ports lead to it.
struct PortWays {
    struct Relayed {
        PublishedPort port;
        SocketAddress to;
    };
    std::vector<PublishedPort> direct{};  ///< of IPv4, to the guest
    std::vector<Relayed> relayed{};       ///< of IPv6, to the guest on its bridge, or to one of the above

    /// Without an endpoint (null) the direct ones are the user network's: one at the loopback is added where
    /// there is none to relay to. Throws Error (no_resources).
    static PortWays of(const std::vector<PublishedPort>& ports, const Endpoint* endpoint);
};

/// Carries connections and datagrams from ports of the host's to elsewhere, on a thread of its own, as
/// docker-proxy does: who is there sees the host as the one who connects. All that it holds is bounded.
/// SIGPIPE is ignored. One thread calls its members.
class PortRelay {
  public:
    static constexpr size_t kMostConnections = 256;  ///< further ones wait to be accepted

    /// Takes the ports. Throws Error (no_resources), worded as dockerd does where a port is taken.
    explicit PortRelay(const std::vector<PortWays::Relayed>& ports);
    PortRelay(const PortRelay&) = delete;
    PortRelay& operator=(const PortRelay&) = delete;
    /// Ends what it carries, and gives the ports back.
    ~PortRelay();

    /// Begins to carry: who has come before waits. Throws Error (no_resources).
    void start();

  private:
    struct Listener {
        UniqueFd socket;
        SocketAddress to;
    };
    struct Connection {
        std::optional<StreamPump> there;
        std::optional<StreamPump> back;
    };

    void listen_to_all();
    void accept(const Listener& listener);
    void carry(UniqueFd client, UniqueFd guest);

    EventLoop loop_;
    std::vector<Listener> listeners_;
    DatagramRelay datagrams_{loop_};
    std::list<Connection> connections_;
    UniqueFd stop_ = make_eventfd();
    std::thread thread_;
};

}  // namespace hull::container
