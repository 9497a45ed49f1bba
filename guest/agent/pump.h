// Carries bytes from one descriptor to another.
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

namespace hull::agent {

/// All that are carried at once, by one thread's poll(2). An end of what is read is told to who is written
/// to, and the other way round: a writer gets EPIPE once nobody reads any more.
class Pumps {
  public:
    static constexpr size_t kMost = 256;

    /// Carries from `from` to `to`, both of which are its own now and do not block from here on. Where both
    /// directions of a socket or terminal are carried, each pump has a descriptor of its own for it. False,
    /// with both closed, where there are kMost already.
    bool add(int from, int to);

    /// Fills in what to wait for: kMost entries at most. How many there are.
    size_t wants(pollfd* entries) const;
    /// Moves what can be moved, given the entries that wants() filled in, behind poll(2).
    void serve(const pollfd* entries, size_t count);

  private:
    static constexpr size_t kRoom = 32 << 10;
    struct Pump {
        int from = -1;  // -1: at its end
        int to = -1;    // -1: this place is free
        size_t begin = 0;
        size_t end = 0;
        uint8_t bytes[kRoom];
    };

    static void take(Pump& pump);
    static void give(Pump& pump);
    static void close_both(Pump& pump);

    Pump pumps_[kMost];
    size_t used_ = 0;  // no place from here on is in use
};

}  // namespace hull::agent
