// Waits for descriptors and points in time on one thread: the control plane of a process.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

namespace hull {

/// A loop over poll(2): the handful of descriptors that a machine has need no more, and unlike epoll it takes
/// regular files (standard input may be one). Only for the thread that calls run(); handlers run on it, one
/// at a time, and may watch, forget, set the deadline and stop.
class EventLoop {
  public:
    using Handler = std::function<void()>;
    enum class Ready { to_read, to_write };

    /// Calls `handler` whenever `fd` can be read (or written to) without blocking, is at its end, or has
    /// failed. `fd` stays open until forget(). One handler for each of the two: a second watch() replaces the
    /// first.
    void watch(int fd, Handler handler, Ready ready = Ready::to_read);
    /// Stops watching; harmless where `fd` is not watched.
    void forget(int fd, Ready ready = Ready::to_read);

    /// Calls `handler` once, `delay` from now; a second call replaces the first.
    void set_deadline(std::chrono::milliseconds delay, Handler handler);

    /// Runs handlers until stop().
    void run();
    void stop() { running_ = false; }

  private:
    struct Watch {
        int fd;
        Ready ready;
        Handler handler;
    };
    struct Deadline {
        std::chrono::steady_clock::time_point when;
        Handler handler;
    };

    [[nodiscard]] int poll_timeout_ms() const;
    [[nodiscard]] std::vector<Watch>::iterator find(int fd, Ready ready);

    std::vector<Watch> watches_;
    std::optional<Deadline> deadline_;
    bool running_ = false;
};

}  // namespace hull
