#include "devices/legacy/console_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace hull {

namespace {

using Clock = std::chrono::steady_clock;

bool may_block(int fd) {
    struct stat status {};
    return fstat(fd, &status) == 0 && !S_ISREG(status.st_mode) && (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
}

}  // namespace

UniqueFd reopen_without_blocking(int fd) {
    if (!may_block(fd)) {
        return {};
    }
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    return UniqueFd{open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
}

ConsoleOutput::ConsoleOutput(int fd, std::function<void()> on_room)
    : on_room_{std::move(on_room)},
      fd_{fd},
      may_block_{may_block(fd)},
      thread_{ThreadKind::console, "console"} {
    thread_.start([this](int stop_fd) { run(stop_fd); });
}

ConsoleOutput::~ConsoleOutput() = default;  // the thread's end writes the rest out

bool ConsoleOutput::put(std::span<const uint8_t> bytes) {
    const std::lock_guard lock{mutex_};
    std::ranges::for_each(bytes, [this](uint8_t byte) { watch_lines(byte); });
    const size_t held = buffer_.size() + in_flight_;
    const size_t room = reader_gone_ || held >= kHighWater + kSlack ? 0 : kHighWater + kSlack - held;
    const auto kept = bytes.first(std::min(bytes.size(), room));
    dropped_ += bytes.size() - kept.size();
    if (!kept.empty()) {
        const size_t before = buffer_.size();
        buffer_.append(kept.begin(), kept.end());
        if (before == 0 || is_worth_writing(before)) {
            signal_eventfd(wake_.get());
        }
    }
    room_wanted_ = buffer_.size() + in_flight_ >= kHighWater && !stalled_ && !reader_gone_;
    return !room_wanted_;
}

void ConsoleOutput::watch_lines(uint8_t byte) {
    if (first_line_ || byte == '\r') {
        return;
    }
    if (byte == '\n') {
        if (!line_is_empty_ && !line_is_kernels_) {
            first_line_ = Clock::now();
        }
        line_is_empty_ = true;
        return;
    }
    if (line_is_empty_) {
        line_is_kernels_ = byte == '[';
        line_is_empty_ = false;
    }
}

std::optional<Clock::time_point> ConsoleOutput::first_line_time() const {
    const std::lock_guard lock{mutex_};
    return first_line_;
}

// Whether the buffer, which had `before` bytes, should go out now rather than wait for what comes next.
// Called with mutex_ held.
bool ConsoleOutput::is_worth_writing(size_t before) const {
    return buffer_.ends_with('\n') || buffer_.size() / kChunk > before / kChunk;
}

bool ConsoleOutput::is_empty() const {
    const std::lock_guard lock{mutex_};
    return buffer_.empty();
}

bool ConsoleOutput::wait_for_output(int stop_fd) {
    if (is_readable(stop_fd)) {
        return false;
    }
    // First for anything at all, and then a moment more for the line's end: a guest prints byte by byte, and
    // a wake-up and a system call for each would cost more than the guest's own work.
    pollfd entries[] = {{wake_.get(), POLLIN, 0}, {stop_fd, POLLIN, 0}};
    poll(entries, 2, -1);
    if (entries[0].revents == 0) {
        return true;
    }
    drain_eventfd(wake_.get());
    bool worth_writing = false;
    {
        const std::lock_guard lock{mutex_};
        worth_writing = is_worth_writing(0);
    }
    if (!worth_writing) {
        poll(entries, 2, static_cast<int>(kLineWait.count()));
    }
    return true;
}

void ConsoleOutput::note_progress(size_t written) {
    bool tell = false;
    uint64_t dropped = 0;
    {
        const std::lock_guard lock{mutex_};
        in_flight_ -= written;
        stalled_ = false;
        // A guest can go on and on: what it loses within a second of the last such line is told in the next.
        if (const auto now = Clock::now(); dropped_ > 0 && now - told_ >= kTellAgain) {
            dropped = std::exchange(dropped_, 0);
            told_ = now;
        }
        tell = room_wanted_ && buffer_.size() + in_flight_ < kHighWater;
        room_wanted_ = room_wanted_ && !tell;
    }
    if (dropped > 0) {
        log_warning("nobody read the console: " + std::to_string(dropped) +
                    " bytes of the guest's output were dropped");
    }
    if (tell) {
        on_room_();
    }
}

void ConsoleOutput::note_stall(bool for_good) {
    bool tell = false;
    {
        const std::lock_guard lock{mutex_};
        stalled_ = true;
        reader_gone_ = for_good;
        tell = std::exchange(room_wanted_, false);
    }
    if (tell) {
        on_room_();
    }
}

void ConsoleOutput::run(int stop_fd) {
    // A terminal or socket that could not be opened anew may block for what it has no room for: one byte
    // always fits.
    const size_t largest_write = may_block_ ? 1 : kChunk;
    std::string taken;
    size_t done = 0;
    bool tell_failure = true;
    for (;;) {
        if (done == taken.size()) {
            taken.clear();
            done = 0;
            {
                const std::lock_guard lock{mutex_};
                taken.swap(buffer_);
                in_flight_ = taken.size();
            }
            if (taken.empty()) {
                if (!wait_for_output(stop_fd) && is_empty()) {
                    return;
                }
                continue;
            }
        }
        pollfd entry{fd_, POLLOUT, 0};
        const int ready = poll(&entry, 1, static_cast<int>(kStall.count()));
        if (ready == 0) {
            if (is_readable(stop_fd)) {
                return;
            }
            note_stall(false);
            continue;
        }
        const ssize_t written =
            ::write(fd_, taken.data() + done, std::min(taken.size() - done, largest_write));
        if (written > 0) {
            done += static_cast<size_t>(written);
            note_progress(static_cast<size_t>(written));
        } else if (written < 0 && errno != EAGAIN && errno != EINTR) {
            if (std::exchange(tell_failure, false)) {
                log_warning("cannot write the console's output: " + errno_text(errno) +
                            "; the rest is dropped");
            }
            note_stall(true);
            done = taken.size();
        }
    }
}

}  // namespace hull
