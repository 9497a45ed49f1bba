// A moment that an event loop waits for.
#pragma once

#include <chrono>
#include <functional>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace hull {

/// One of any number on a loop, which outlives it. For the loop's thread; the handler may destroy it.
class Timer {
  public:
    /// Throws Error (no_resources).
    Timer(EventLoop& loop, std::function<void()> handler);
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer();

    /// Calls the handler once, `delay` from now, in place of what was set before; zero: never.
    void set(std::chrono::nanoseconds delay);

  private:
    EventLoop& loop_;
    UniqueFd fd_;
};

}  // namespace hull
