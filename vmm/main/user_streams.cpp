#include "vmm/main/user_streams.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/signals.h"

namespace hull {

namespace {

uint32_t bit_of(agent::Type kind) {
    return uint32_t{1} << (kind - agent::kInput);
}

}  // namespace

void open_missing_streams() {
    for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (fcntl(number, F_GETFD) < 0) {
            static_cast<void>(open("/dev/null", O_RDWR));  // takes the lowest number that is free: this one
        }
    }
}

UserStreams::UserStreams(EventLoop& loop, AgentClient& client, Config config, Events events)
    : loop_{loop},
      client_{client},
      config_{config},
      events_{std::move(events)},
      signals_{catch_signals({SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH})},
      outputs_left_{config.tty ? 1 : 2} {
    signal(SIGPIPE, SIG_IGN);
    loop_.watch(signals_.get(), [this] { take_signal(); });
}

UserStreams::~UserStreams() {
    loop_.forget(signals_.get());
    loop_.forget(typed_to_.get(), EventLoop::Ready::to_write);
}

void UserStreams::add_terminal(agent::FrameWriter& frame) const {
    if (config_.tty) {
        winsize size{};
        ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
        frame.add_number(agent::kRows, size.ws_row);
        frame.add_number(agent::kColumns, size.ws_col);
    }
}

void UserStreams::expect() {
    is_running_ = true;
    expected_ = config_.tty ? bit_of(agent::kTerminal)
                            : bit_of(agent::kInput) | bit_of(agent::kOutput) | bit_of(agent::kErrors);
}

bool UserStreams::take(agent::Type kind, uint32_t number, UniqueFd& connection) {
    if (number != config_.command || (expected_ & bit_of(kind)) == 0) {
        return false;
    }
    expected_ &= ~bit_of(kind);
    switch (kind) {
        case agent::kInput:
            if (config_.has_input) {
                carry(duplicate(STDIN_FILENO), std::move(connection), false);
            } else {
                connection.reset();
            }
            break;
        case agent::kOutput:
            carry(std::move(connection), duplicate(STDOUT_FILENO), true);
            break;
        case agent::kErrors:
            carry(std::move(connection), duplicate(STDERR_FILENO), true);
            break;
        default:
            if (config_.has_input) {
                carry_typed(duplicate(connection.get()));
            }
            carry(std::move(connection), duplicate(STDOUT_FILENO), true);
            break;
    }
    return true;
}

void UserStreams::carry(UniqueFd from, UniqueFd to, bool is_output) {
    pumps_.emplace_back(loop_, std::move(from), std::move(to), [this, is_output] {
        if (is_output && --outputs_left_ == 0) {
            events_.all_came();
        }
    });
}

/// Ctrl-A x is looked for whether the guest takes what is typed or not.
void UserStreams::carry_typed(UniqueFd connection) {
    if (!config_.has_escape) {
        carry(duplicate(STDIN_FILENO), std::move(connection), false);
        return;
    }
    typed_to_ = std::move(connection);
    const auto give = [this](std::span<const uint8_t> bytes) -> size_t {
        const ssize_t sent = send(typed_to_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < static_cast<ssize_t>(bytes.size()) && (sent >= 0 || errno == EAGAIN)) {
            loop_.watch(
                typed_to_.get(),
                [this] {
                    loop_.forget(typed_to_.get(), EventLoop::Ready::to_write);
                    typed_->tell_room();
                },
                EventLoop::Ready::to_write);
        }
        return static_cast<size_t>(std::max<ssize_t>(sent, 0));
    };
    typed_.emplace(loop_, STDIN_FILENO, true, give, events_.quit);
}

void UserStreams::take_signal() {
    signalfd_siginfo info{};
    if (read(signals_.get(), &info, sizeof info) != sizeof info) {
        return;
    }
    const auto number = static_cast<int>(info.ssi_signo);
    if (number == SIGWINCH) {
        resize();
    } else {
        events_.signalled(number);
    }
}

void UserStreams::send_signal(int number) {
    client_.request(agent::kSignal, config_.command, [&](agent::FrameWriter& frame) {
        frame.add_number(agent::kValue, static_cast<uint64_t>(number));
    });
}

void UserStreams::resize() {
    winsize size{};
    if (!config_.tty || !is_running_ || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) {
        return;
    }
    client_.request(agent::kResize, config_.command, [&](agent::FrameWriter& frame) {
        frame.add_number(agent::kRows, size.ws_row);
        frame.add_number(agent::kColumns, size.ws_col);
    });
}

}  // namespace hull
