// Carries what is typed, or comes through a pipe or file, to the guest's console.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace hull {

/// Splits what a person types into what is meant for the guest and what is meant for Hull: Ctrl-A and then x
/// ends the machine, Ctrl-A twice (or Ctrl-A a) sends one Ctrl-A; after Ctrl-A anything else goes on with it.
class EscapeFilter {
  public:
    /// Appends to `guest` what the guest gets of `byte`; true where the machine is to end.
    bool take(uint8_t byte, std::string& guest);

  private:
    bool after_escape_ = false;
};

/// Reads a descriptor on an event loop and offers the bytes to the console's port; what that has no room for
/// yet waits. From a pipe or file nothing is lost: it is not read while bytes wait. A terminal is read
/// always, so that Ctrl-A x works with a guest that takes nothing; what is typed past kTypedAhead bytes is
/// dropped. For the event loop's thread, but for tell_room().
class ConsoleInput {
  public:
    static constexpr size_t kTypedAhead = 4096;

    /// Takes bytes from the front, as many as the port has room for, and answers how many. Where it took less
    /// than it was offered, tell_room() is called later.
    using Receiver = std::function<size_t(std::span<const uint8_t>)>;

    /// `loop` and `fd` must outlive this object. `on_end` is called for Ctrl-A x, which is looked for on a
    /// terminal only.
    ConsoleInput(EventLoop& loop, int fd, bool is_terminal, Receiver receiver, std::function<void()> on_end);

    /// The port has room again. Any thread.
    void tell_room() { signal_eventfd(room_.get()); }

  private:
    void read_some();
    void offer();

    EventLoop& loop_;
    int fd_;
    bool is_terminal_;
    Receiver receiver_;
    std::function<void()> on_end_;
    UniqueFd room_ = make_eventfd();
    EscapeFilter filter_;
    std::string waiting_;
    bool at_end_ = false;
};

}  // namespace hull
