// The terminal that a machine's console is on.
#pragma once

#include <termios.h>

namespace hull {

/// Puts a terminal into raw mode (every key goes to the guest) and puts it back. Output processing stays on,
/// so that Hull's own lines look right beside the guest's. A copy in a forked child restores as well.
class RawTerminal {
  public:
    /// Remembers the terminal's mode if `fd` is one; nothing is changed yet. `fd` stays the caller's.
    explicit RawTerminal(int fd);

    [[nodiscard]] bool is_terminal() const { return is_terminal_; }
    /// Does nothing where it is no terminal.
    void enter();
    /// Puts the mode back that was found; may be called at any time and more than once. Works for a process
    /// in the background too, whose terminal would otherwise be left raw by a keeper that was killed.
    void restore();

  private:
    int fd_;
    termios found_{};  // before is_terminal_, whose initialization fills it in
    bool is_terminal_;
    bool raw_ = false;
};

}  // namespace hull
