// A machine that works for this process: how it ends, and what its console says then.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace hull {

/// Keeps the last that a guest prints on its console, and tells when the process that keeps the machine has
/// ended. For the event loop's thread.
class WatchedMachine {
  public:
    /// `console` is what the guest's console prints and does not block; `pidfd` is of the process that keeps
    /// the machine, a child of this one that the caller reaps. `on_end` is called when that ends. `loop`
    /// outlives this.
    WatchedMachine(EventLoop& loop, UniqueFd console, int pidfd, std::function<void()> on_end);
    WatchedMachine(const WatchedMachine&) = delete;
    WatchedMachine& operator=(const WatchedMachine&) = delete;
    ~WatchedMachine();

    /// Whether it has ended since it could not make a machine, of which it has told the user then.
    [[nodiscard]] bool could_not_start() const;
    /// What the console printed last, as a terminal may show it.
    std::string last_words();
    /// Throws an Error, with that on standard error above it.
    [[noreturn]] void fail(ExitStatus status, const std::string& tried, const std::string& why);

  private:
    void take_console();

    EventLoop& loop_;
    UniqueFd console_;
    int pidfd_;
    std::string words_;
};

}  // namespace hull
