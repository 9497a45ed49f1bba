// Connections of a guest's that are carried on to the host's sockets.
#pragma once

#include <cstddef>
#include <list>
#include <optional>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "vmm/agent/stream_pump.h"

namespace hull {

/// All that are carried at once, each both ways. For the event loop's thread.
class RelayedStreams {
  public:
    /// `most` connections at once; `loop` outlives it.
    RelayedStreams(EventLoop& loop, size_t most) : loop_{loop}, most_{most} {}

    /// Whether there is room for a further one.
    [[nodiscard]] bool has_room();
    /// Carries between these two until both of its directions have ended.
    void add(UniqueFd one, UniqueFd other);

  private:
    void carry(UniqueFd from, UniqueFd to);

    EventLoop& loop_;
    size_t most_;
    std::list<std::optional<StreamPump>> pumps_;  // of them those that have ended go when further ones come
};

}  // namespace hull
