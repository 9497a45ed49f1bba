// The host's end of a network interface that came to a guest while it ran.
#pragma once

#include <cstddef>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace hull::container {

/// Carries frames between a tap device and the connection over which a guest's agent does so for its own
/// (agent::kFrames). The guest is held for hostile: what comes is bounded, and where it makes no sense the
/// connection is closed. What one of the two does not take is lost, as frames are. For the event loop's
/// thread.
class FrameRelay {
  public:
    static constexpr size_t kMostWaiting = size_t{256} << 10;  ///< bytes of frames for the guest

    /// `tap` is a queue of the device (open_tap()), which was told of no offloads: the headers say nothing.
    /// `loop` outlives it.
    FrameRelay(EventLoop& loop, UniqueFd tap, UniqueFd connection);
    FrameRelay(const FrameRelay&) = delete;
    FrameRelay& operator=(const FrameRelay&) = delete;
    ~FrameRelay() { end(); }

  private:
    void take_frames();
    void send();
    void take_from_guest();
    void end();

    EventLoop& loop_;
    UniqueFd tap_;
    UniqueFd connection_;
    std::string waiting_;  // for the guest
    std::string got_;      // from it
};

}  // namespace hull::container
