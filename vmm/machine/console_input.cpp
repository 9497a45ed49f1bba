#include "vmm/machine/console_input.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace hull {

bool EscapeFilter::take(uint8_t byte, std::string& guest) {
    constexpr uint8_t kEscape = 0x01;  // Ctrl-A
    if (!after_escape_) {
        after_escape_ = byte == kEscape;
        if (!after_escape_) {
            guest.push_back(static_cast<char>(byte));
        }
        return false;
    }
    after_escape_ = false;
    if (byte == 'x') {
        return true;
    }
    guest.push_back(static_cast<char>(kEscape));
    if (byte != kEscape && byte != 'a') {
        guest.push_back(static_cast<char>(byte));
    }
    return false;
}

ConsoleInput::ConsoleInput(EventLoop& loop, int fd, bool is_terminal, Receiver receiver,
                           std::function<void()> on_end)
    : loop_{loop},
      fd_{fd},
      is_terminal_{is_terminal},
      receiver_{std::move(receiver)},
      on_end_{std::move(on_end)} {
    loop_.watch(fd_, [this] { read_some(); });
    loop_.watch(room_.get(), [this] {
        drain_eventfd(room_.get());
        offer();
    });
}

void ConsoleInput::read_some() {
    std::array<char, 512> bytes{};
    const ssize_t got = read(fd_, bytes.data(), bytes.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (got <= 0) {
        at_end_ = true;
        loop_.forget(fd_);
        return;
    }
    for (ssize_t i = 0; i < got; ++i) {
        const auto byte = static_cast<uint8_t>(bytes.at(static_cast<size_t>(i)));
        if (!is_terminal_) {
            waiting_.push_back(static_cast<char>(byte));
        } else if (filter_.take(byte, waiting_)) {
            on_end_();
        }
    }
    offer();
}

void ConsoleInput::offer() {
    const size_t taken = receiver_({reinterpret_cast<const uint8_t*>(waiting_.data()), waiting_.size()});
    waiting_.erase(0, taken);
    if (at_end_) {
        return;
    }
    if (is_terminal_) {
        if (waiting_.size() > kTypedAhead) {
            waiting_.resize(kTypedAhead);
        }
    } else if (waiting_.empty()) {
        loop_.watch(fd_, [this] { read_some(); });
    } else {
        loop_.forget(fd_);
    }
}

}  // namespace hull
