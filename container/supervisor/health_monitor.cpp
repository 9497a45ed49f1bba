#include "container/supervisor/health_monitor.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/utf8.h"
#include "container/image/timestamp.h"

namespace hull::container {

HealthMonitor::HealthMonitor(EventLoop& loop, const HealthProbe& probe, uint32_t first, uint32_t numbers,
                             Events events)
    : loop_{loop},
      probe_{probe},
      first_{first},
      numbers_{numbers},
      events_{std::move(events)},
      timer_{loop, [this] { take_time(); }} {}

HealthMonitor::~HealthMonitor() {
    close_streams();
}

void HealthMonitor::begin() {
    if (!std::exchange(is_wanted_, true) && !is_running_) {
        timer_.set(probe_.interval);
    }
}

/// One that runs is told of no more, and the next one waits for its end: those that die slowly do not pile
/// up.
void HealthMonitor::stop() {
    is_wanted_ = false;
    timer_.set({});
    if (is_running_ && !std::exchange(is_told_, true)) {
        if (has_ended_) {
            finish(-1, "");
        } else {
            events_.kill(number_);
        }
    }
}

void HealthMonitor::take_time() {
    if (!is_wanted_) {
        return;
    }
    if (!is_running_) {
        run();
    } else if (!is_told_) {
        tell(-1, "Health check exceeded timeout (" + duration_text(probe_.timeout) + ")");
        if (has_ended_) {
            finish(-1, "");  // others have its streams open still
        } else {
            events_.kill(number_);
        }
    }
}

void HealthMonitor::run() {
    number_ = first_ + count_++ % numbers_;
    start_ = std::chrono::system_clock::now();
    is_running_ = true;
    is_told_ = has_ended_ = is_cut_ = false;
    outputs_left_ = streams_.size();
    output_.clear();
    timer_.set(probe_.timeout);
    if (const std::string why = events_.run(number_); !why.empty()) {
        finish(-1, why);
    }
}

void HealthMonitor::take_failure(const std::string& why) {
    finish(-1, why);
}

void HealthMonitor::take_end(int status) {
    has_ended_ = true;
    status_ = status;
    if (is_told_) {
        finish(-1, "");
    } else {
        finish_if_all_came();
    }
}

void HealthMonitor::take(agent::Type kind, UniqueFd connection) {
    const size_t index = kind == agent::kErrors ? 1 : 0;
    if ((kind != agent::kOutput && kind != agent::kErrors) || streams_.at(index).valid()) {
        return;  // it gets no input
    }
    streams_.at(index) = std::move(connection);
    loop_.watch(streams_.at(index).get(), [this, index] { read_output(index); });
}

void HealthMonitor::read_output(size_t index) {
    UniqueFd& stream = streams_.at(index);
    std::array<char, HealthResult::kMostOutput> bytes{};
    const ssize_t got = recv(stream.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        loop_.forget(stream.get());
        // It stays, closed for both: no second one is taken for it.
        shutdown(stream.get(), SHUT_RDWR);
        outputs_left_ -= std::min<size_t>(outputs_left_, 1);
        finish_if_all_came();
        return;
    }
    const size_t room = HealthResult::kMostOutput - output_.size();
    const auto size = static_cast<size_t>(got);
    output_.append(bytes.data(), std::min(size, room));
    is_cut_ = is_cut_ || size > room;
}

void HealthMonitor::finish_if_all_came() {
    if (is_running_ && has_ended_ && outputs_left_ == 0) {
        std::string output = valid_utf8(output_);
        std::ranges::replace(output, '\0', '?');  // which no text of a container's state has
        finish(status_, output + (is_cut_ ? "..." : ""));
    }
}

void HealthMonitor::finish(int exit_code, std::string output) {
    close_streams();
    is_running_ = false;
    if (!std::exchange(is_told_, true)) {
        tell(exit_code, std::move(output));
    }
    if (is_wanted_) {
        timer_.set(probe_.interval);
    }
}

void HealthMonitor::tell(int exit_code, std::string output) {
    is_told_ = true;
    events_.told({.start = start_,
                  .end = std::chrono::system_clock::now(),
                  .exit_code = exit_code,
                  .output = std::move(output)});
}

void HealthMonitor::close_streams() {
    for (UniqueFd& stream : streams_) {
        loop_.forget(stream.get());
        stream.reset();
    }
}

}  // namespace hull::container
