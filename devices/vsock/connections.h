// All streams of a socket device: its two queues, the host's programs, and who gets whose bytes.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "devices/virtio/device.h"
#include "devices/vsock/connection.h"
#include "devices/vsock/host_socket.h"
#include "devices/vsock/packet.h"

namespace hull::virtio {

/// Carries streams between the driver's queues and unix sockets, on one thread. All that it keeps is bounded,
/// whatever the guest does: the streams, what each holds, and the packets that wait for the guest. Where the
/// guest takes no packets, its own are not taken either (VIRTIO 1.2, 5.10.6.1).
class VsockConnections {
  public:
    struct Sides {
        std::optional<ActiveQueue>& receive;   ///< rx: buffers for packets to the guest
        std::optional<ActiveQueue>& transmit;  ///< tx: packets from the guest
        DriverCalls& driver;
        uint32_t guest_cid;
        int listener;           ///< what programs of the host's connect to; does not block
        HostConnector connect;  ///< to those that listen for the guest
        UniqueFd epoll;         ///< an epoll(7) instance that watches nothing yet
    };

    /// Both queues are there then, and whenever a member but leave_queues() and the two of what there is to
    /// look at is called.
    explicit VsockConnections(Sides sides);
    /// Before the queues go: those that come in their place go on where they were left.
    void leave_queues();

    /// Serves until `stop_fd` is readable, or a queue breaks, which the driver is told.
    void serve(int stop_fd);

    /// One round of serve(): waits, if there is nothing else to do, until something happens or `timeout_ms`
    /// (-1: without end) has passed, and does what there is. False where it is to stop.
    bool take_turn(int timeout_ms);

    /// Streams, those that are not open yet or not flushed yet included.
    [[nodiscard]] size_t size() const { return connections_.size(); }
    /// What waits for the guest's buffers: RSTs, and streams with something for it.
    [[nodiscard]] size_t waiting() const { return resets_.size() + ready_.size(); }

    /// The most streams; further ones of the guest's get a RST, further programs of the host's wait.
    static constexpr size_t kMostConnections = 512;
    /// So many RSTs wait for the guest's buffers before no more of its packets are taken.
    static constexpr size_t kMostResets = 256;
    /// Where the ports begin that programs of the host's get; half of all ports lie from there on.
    static constexpr uint32_t kFirstHostPort = uint32_t{1} << 31;

  private:
    using Id = uint64_t;  // of a stream; never used twice
    struct Entry {
        std::unique_ptr<VsockConnection> connection;
        bool is_ready = false;        // it stands in ready_
        bool waits_to_write = false;  // as epoll was told
        size_t buffers = 1;           // of the guest's, that the next read may fill
    };
    using Entries = std::unordered_map<Id, Entry>;

    void fail(const char* why);
    bool watch(int fd, uint64_t id, uint32_t events, int operation);
    [[nodiscard]] bool has_work() const;

    // The host's programs.
    void accept_hosts();
    void take_event(Id id, uint32_t events);
    [[nodiscard]] VsockFlow allot_flow(uint32_t guest_port);

    // The guest's packets.
    void transmit();
    void take_packet(const DescriptorChain& chain);
    void connect_guest(const VsockHeader& request);

    // Packets for the guest.
    void receive();
    [[nodiscard]] bool take_buffer();
    [[nodiscard]] bool have_buffer();
    void serve_next();
    void send_data(Entry& entry);
    /// Puts a stream's header, without its addresses yet, before its payload.
    void send(VsockHeader header);
    void deliver(const VsockHeader& header);

    /// The end, with the stream closed, where the host cannot watch its socket.
    Entries::iterator add(std::unique_ptr<VsockConnection> connection);
    /// Looks at what has become of a stream, which may be its end: its entry is not to be used behind this.
    void settle(Entries::iterator at);

    Sides sides_;
    bool broken_ = false;
    Id next_id_;
    uint32_t next_host_port_ = kFirstHostPort;
    Entries connections_;
    std::unordered_map<VsockFlow, Id, VsockFlowHash> flows_;  // of those that the guest knows or is to know
    std::deque<Id> ready_;                 // those with something for the guest, who is next first
    std::deque<VsockHeader> resets_;       // whole, and before all else
    std::deque<DescriptorChain> buffers_;  // taken from the receive queue and not filled yet
    bool listener_ready_ = true;           // somebody may be waiting there
    bool transmit_ready_ = true;           // the guest may have packets
    bool starved_ = false;                 // it has no buffers, and will kick when it has
    std::vector<iovec> segments_;
};

}  // namespace hull::virtio
