// A network in user space: libslirp between a guest's frames and the host's sockets.
#pragma once

#include <poll.h>
#include <slirp/libslirp.h>

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "devices/net/port_forward.h"

namespace hull::virtio {

struct UserNetworkSettings {
    std::vector<PortForward> forwards;
    bool restricted = false;     ///< the guest reaches nothing; who comes by a forward is answered
    bool host_loopback = false;  ///< 10.0.2.2 and fec0::2 are the host's 127.0.0.1 and ::1
    uint16_t mtu = 1500;         ///< bytes; 1280 (the least of IPv6) to 65521
};

/// The network 10.0.2.0/24 and fec0::/64: a router at .2, a name server at .3 that asks the host's, and one
/// guest, which DHCP gives .15. What the guest sends to others leaves by the host's sockets, with the rights
/// of the process. What it sends in fragments is dropped. One thread.
class UserNetwork {
  public:
    /// `link` is one end of a SOCK_SEQPACKET pair whose messages are frames, each with a struct
    /// virtio_net_hdr_v1 before it. Throws Error (no_resources) where a forward's port cannot be had.
    UserNetwork(const UserNetworkSettings& settings, UniqueFd link);
    UserNetwork(const UserNetwork&) = delete;
    UserNetwork& operator=(const UserNetwork&) = delete;

    /// Serves until the other end of the link is closed.
    void serve();

  private:
    struct Timer {
        SlirpTimerId id;
        void* opaque;
        std::optional<int64_t> due;  // milliseconds, by the clock of the callbacks
    };
    struct Cleanup {
        void operator()(Slirp* slirp) const { slirp_cleanup(slirp); }
    };

    static const SlirpCb kCallbacks;
    void add_forward(const PortForward& forward);
    void wait();
    void run_timers();
    void take_frames();
    void send_frame(const void* frame, size_t size);
    void send_waiting();

    const UniqueFd link_;
    std::list<Timer> timers_;  // their addresses are libslirp's handles
    std::unique_ptr<Slirp, Cleanup> slirp_;
    std::vector<pollfd> polls_;                   // the link, then libslirp's
    std::deque<std::vector<std::byte>> waiting_;  // what the guest had no room for
    std::vector<std::byte> frame_;
    bool is_quiet_ = false;  // nothing came in the last wait
    bool link_is_gone_ = false;
};

}  // namespace hull::virtio
