// Carries bytes from one of the host's descriptors to another, on an event loop.
#pragma once

#include <array>
#include <cstddef>
#include <functional>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace hull {

/// One direction of a stream: what comes from `from` goes to `to`, as fast as that takes it. The end of what
/// is read is told to a socket that is written to, and whoever is at the other end of one that is read learns
/// when nobody takes its bytes any more. For the event loop's thread; SIGPIPE is ignored.
class StreamPump {
  public:
    /// Carries as soon as `to` takes something: it may be a socket that connects still. The descriptors may
    /// be such as others use too, so their modes are left alone: nothing else reads from `from` meanwhile.
    /// `on_end` is called once, when nothing more will be carried; it may destroy this object. `loop`
    /// outlives it.
    StreamPump(EventLoop& loop, UniqueFd from, UniqueFd to, std::function<void()> on_end);
    StreamPump(const StreamPump&) = delete;
    StreamPump& operator=(const StreamPump&) = delete;
    ~StreamPump();

  private:
    void take();
    void give();
    void wait_for_room(bool wanted);
    void end();

    EventLoop& loop_;
    UniqueFd from_;
    UniqueFd to_;
    bool to_is_socket_;
    bool from_is_socket_;
    std::function<void()> on_end_;
    size_t begin_ = 0;
    size_t end_ = 0;
    std::array<char, size_t{64} << 10> bytes_;
};

}  // namespace hull
