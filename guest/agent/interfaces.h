// Network interfaces that come and go while the guest runs.
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/agent/command.h"
#include "guest/agent/protocol.h"

namespace hull::agent {

/// Makes a tap device of this name, with a MAC of kMacSize bytes. It is there until what is answered, which
/// does not block, is closed; -1 with errno where it cannot be made.
int make_interface(const char* name, const uint8_t* mac);

/// Takes an interface away from its driver, and so out of the guest, for good.
Failure take_interface_away(const char* name);

/// Carries frames between tap devices and the host, those of each over a connection of its own (kFrames).
/// What one of the two does not take at once is lost, as frames are, but for the one that waits.
class Interfaces {
  public:
    static constexpr size_t kMost = 16;

    [[nodiscard]] bool has_room() const { return find_room() < kMost; }
    /// There is room. Both are its own from here on. The end of the connection is the interface's.
    void add(int tap, int connection);

    static constexpr size_t kEntries = 2 * kMost;
    /// Fills in what to wait for.
    void wants(pollfd* entries) const;
    /// Carries what can be, given the entries that wants() filled in, behind poll(2).
    void serve(const pollfd* entries);

  private:
    static constexpr size_t kLength = 2;  // bytes before each frame
    struct Interface {
        int tap = -1;  // -1: this place is free
        int connection = -1;
        size_t begin = 0;  // of what waits for the host
        size_t end = 0;
        size_t have = 0;  // of what has come from it
        // One byte more than may be: a frame that is longer is none for the host.
        uint8_t to_host[kLength + kMostFrame + 1];
        uint8_t from_host[kLength + kMostFrame];
    };

    [[nodiscard]] size_t find_room() const;
    static void take_frames(Interface& interface);
    static void send_waiting(Interface& interface);
    static void take_from_host(Interface& interface);
    static void end(Interface& interface);

    Interface interfaces_[kMost];
};

}  // namespace hull::agent
