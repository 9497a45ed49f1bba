// Carries datagrams between a socket of the guest's and the host.
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/agent/protocol.h"

namespace hull::agent {

/// Those of one socket, over one connection (kDatagrams). What one of the two does not take at once is lost,
/// as datagrams are, but for the one that waits. It remembers nothing of who sent them.
class Datagrams {
  public:
    /// Both are its own from here on, and do not block.
    void begin(int socket, int connection);
    [[nodiscard]] bool has_begun() const { return socket_ >= 0; }

    static constexpr size_t kEntries = 2;
    /// Fills in what to wait for.
    void wants(pollfd* entries) const;
    /// Carries what can be, given the entries that wants() filled in, behind poll(2).
    void serve(const pollfd* entries);

  private:
    void take_datagrams();
    void send_waiting();
    void take_frames();
    void end();

    int socket_ = -1;
    int connection_ = -1;
    size_t begin_ = 0;  // of what waits for the host
    size_t end_ = 0;
    size_t have_ = 0;  // of what has come from it
    uint8_t to_host_[kDatagramHeader + kMostDatagram];
    uint8_t from_host_[kDatagramHeader + kMostDatagram];
};

}  // namespace hull::agent
