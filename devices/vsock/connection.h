// One stream between a port of the guest's and a unix socket of the host's (VIRTIO 1.2, 5.10.6).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "devices/vsock/packet.h"

namespace hull::virtio {

/// A stream's state, its credit in both directions, and what of the guest's bytes the host program has not
/// taken yet. It does not wait: its owner brings the guest's packets and the socket's events, and asks what
/// is to be told to the guest. One thread.
class VsockConnection {
  public:
    enum class Stage : uint8_t {
        greeting,   ///< a host program has connected and not yet said which port it wants
        requested,  ///< the guest was, or is to be, asked whether it accepts
        open,
        draining,  ///< the guest is done with it; what it sent before goes to the host program
        over,      ///< of no more use to anybody
    };
    /// What a packet of the guest's leads to.
    enum class Verdict : uint8_t {
        keep,
        reset,      ///< the guest is to get a RST, and is done with the stream
        forgotten,  ///< the guest itself is done with it
    };

    /// What the guest may send before it is told that some of it was taken (5.10.6.3), in bytes: no more is
    /// ever kept here.
    static constexpr uint32_t kBufferSize = uint32_t{256} << 10;

    /// A host program's, at the greeting. `socket` does not block, here and below.
    explicit VsockConnection(UniqueFd socket) : socket_{std::move(socket)} {}
    /// One that the guest asked for by `request` and the host program behind `socket` accepts: open, with a
    /// RESPONSE to be told.
    VsockConnection(const VsockHeader& request, UniqueFd socket);

    [[nodiscard]] Stage stage() const { return stage_; }
    [[nodiscard]] const VsockFlow& flow() const { return flow_; }
    [[nodiscard]] int socket() const { return socket_.get(); }

    /// What epoll tells of the socket.
    void take_events(uint32_t events);
    /// At the greeting: the port that the host program asks for with "CONNECT <port>\n"; nothing while the
    /// line is not whole. What is no such line ends the connection.
    std::optional<uint32_t> read_greeting();
    /// Behind the greeting: asks the guest.
    void request(const VsockFlow& flow);
    /// Whether the guest was asked for it and has not answered.
    [[nodiscard]] bool awaits_response() const { return stage_ == Stage::requested && !owes_request_; }

    /// A packet of this flow, with its payload of header.len bytes.
    Verdict take_packet(const VsockHeader& header, std::span<const iovec> payload);
    /// The guest is not to be told anything any more.
    void leave_guest();

    /// Whether it waits for the socket to take bytes.
    [[nodiscard]] bool has_unwritten() const { return !unwritten_.empty(); }
    /// Whether next_control() or read() may have something.
    [[nodiscard]] bool has_packet() const;
    /// The next packet without payload for the guest, without addresses; it counts as told.
    std::optional<VsockHeader> next_control();
    /// Reads what the host program has sent into `segments`, which hold at most credit() bytes; returns how
    /// many there were, which are now to be sent in packets that data_header() is for.
    size_t read(std::span<const iovec> segments);
    /// The guest's room that is not taken up yet (5.10.6.3), in bytes.
    [[nodiscard]] uint32_t credit() const;
    VsockHeader data_header(uint32_t size) { return header(VIRTIO_VSOCK_OP_RW, size); }

  private:
    VsockHeader header(uint16_t op, uint32_t size = 0, uint32_t flags = 0);
    void take_credit(const VsockHeader& header);
    Verdict take_data(uint32_t size, std::span<const iovec> payload);
    Verdict take_shutdown(uint32_t flags);
    [[nodiscard]] bool can_read() const;
    [[nodiscard]] bool owes_credit_update() const;
    [[nodiscard]] bool owes_credit_request() const;
    /// What the guest is to know by SHUTDOWN.
    [[nodiscard]] uint32_t host_shutdown() const;
    /// How much of `segments`, which hold `size` bytes, the socket takes at once.
    size_t write_to_host(std::span<const iovec> segments, size_t size);
    void flush();
    void stop_writing();
    void close_when_done();

    Stage stage_ = Stage::greeting;
    VsockFlow flow_;
    UniqueFd socket_;

    // The host program's side.
    bool readable_ = false;             // the socket may have something, or its end
    bool hung_up_ = false;              // its end is behind what there is
    bool read_ended_ = false;           // all that will come was read
    bool write_ended_ = false;          // nothing is taken any more
    std::vector<std::byte> unwritten_;  // of the guest's, and not yet taken
    size_t unwritten_from_ = 0;

    // What is owed to the guest, beside data.
    bool owes_request_ = false;
    bool owes_response_ = false;
    bool asked_for_update_ = false;  // by the guest
    bool asked_for_credit_ = false;  // by the device, since there was none
    uint32_t told_shutdown_ = 0;
    uint32_t guest_shutdown_ = 0;

    // Credit (5.10.6.3). All count bytes and wrap.
    uint32_t received_ = 0;        // from the guest
    uint32_t forwarded_ = 0;       // of these, to the host program
    uint32_t told_forwarded_ = 0;  // as the guest was last told
    uint32_t sent_ = 0;            // to the guest
    uint32_t peer_forwarded_ = 0;  // of these, taken by its program
    uint32_t peer_allocated_ = 0;  // the guest's room
};

}  // namespace hull::virtio
