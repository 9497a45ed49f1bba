#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/uio.h>
#include <unistd.h>

#include <memory>
#include <string>

namespace hull {

namespace {

class StandardError final : public spdlog::sinks::base_sink<std::mutex> {
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        write_log_line({line.data(), line.size()});
    }
    void flush_() override {}
};

spdlog::logger& logger() {
    static spdlog::logger instance = [] {
        spdlog::logger made{"hull", std::make_shared<StandardError>()};
        made.set_pattern("hull: %l: %v");
        return made;
    }();
    return instance;
}

}  // namespace

void log_warning(std::string_view message) {
    logger().warn(message);
}

void write_log_line(std::string_view line) {
    // By the call that a disk's thread has anyway (signal_eventfd()).
    const iovec source{const_cast<char*>(line.data()), line.size()};
    [[maybe_unused]] const ssize_t written = pwritev2(STDERR_FILENO, &source, 1, -1, 0);
}

void RateLimitedLog::warning(std::string_view message) {
    uint64_t suppressed = 0;
    {
        const std::lock_guard lock{mutex_};
        const auto now = std::chrono::steady_clock::now();
        if (last_ != std::chrono::steady_clock::time_point{} && now - last_ < std::chrono::seconds{1}) {
            ++suppressed_;
            return;
        }
        last_ = now;
        suppressed = suppressed_;
        suppressed_ = 0;
    }
    if (suppressed == 0) {
        log_warning(message);
    } else {
        log_warning(std::string{message} + " (and " + std::to_string(suppressed) +
                    " times more since the last such line)");
    }
}

}  // namespace hull
