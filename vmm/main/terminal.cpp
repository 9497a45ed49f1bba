#include "vmm/main/terminal.h"

#include <signal.h>
#include <unistd.h>

namespace hull {

namespace {

void set_mode(int fd, const termios& mode) {
    // A process in the background that changes its terminal is sent SIGTTOU unless that is blocked.
    sigset_t set;
    sigset_t before;
    sigemptyset(&set);
    sigaddset(&set, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    tcsetattr(fd, TCSANOW, &mode);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

RawTerminal::RawTerminal(int fd) : fd_{fd}, is_terminal_{isatty(fd) == 1 && tcgetattr(fd, &found_) == 0} {}

void RawTerminal::enter() {
    if (!is_terminal_) {
        return;
    }
    termios raw = found_;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    set_mode(fd_, raw);
    raw_ = true;
}

void RawTerminal::restore() {
    if (raw_) {
        set_mode(fd_, found_);
        raw_ = false;
    }
}

}  // namespace hull
