// What a machine in its jail gets of its keeper while it runs: connections to sockets of the host's. It
// cannot make them itself, since it sees no file.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace hull::jail {

/// The keeper's side. Each device that may ask has a pair of sockets of its own, so a request need not say
/// what it is for, and a machine gets at nothing but what add() was called with.
///
/// The machine is held for hostile: a request is BrokerRequest and nothing else, and anything else ends that
/// pair; one is answered a turn of the loop, so that the keeper's other work goes on; and where answers are
/// not taken, at most a handful wait, the rest are lost. One thread.
class Broker {
  public:
    /// Connects: a descriptor, or none. Must not wait. The machine chooses `port`, which may be anything.
    using Connect = std::function<UniqueFd(uint32_t port)>;

    /// To be called before the fork. The answer is for the machine: it has `connect` called in the keeper,
    /// and waits a second for that at most. One thread at a time. Throws Error (no_resources).
    Connect add(Connect connect);
    /// The descriptors that the machine needs for it.
    [[nodiscard]] std::vector<int> machines_descriptors() const;

    /// In the keeper, from the fork on: answers while the loop runs. Lives as long as the loop.
    void serve(EventLoop& loop);

  private:
    struct Door {
        UniqueFd keepers_end;
        int machines_end;  // owned by what add() answered
        Connect connect;
    };
    static void answer(EventLoop& loop, Door& door);

    std::list<Door> doors_;
};

/// One message of a machine's; the answer is the same with a descriptor or without. Both in one piece
/// (SOCK_SEQPACKET).
struct BrokerRequest {
    uint32_t number;  ///< the machine's own, by which it knows the answer again
    uint32_t port;    ///< where the device has ports
};

}  // namespace hull::jail
