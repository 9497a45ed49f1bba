#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <string>

namespace hull {

namespace {

spdlog::logger& logger() {
    static spdlog::logger instance = [] {
        spdlog::logger made{"hull", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
        made.set_pattern("hull: %l: %v");
        made.flush_on(spdlog::level::warn);
        return made;
    }();
    return instance;
}

}  // namespace

void log_warning(std::string_view message) {
    logger().warn(message);
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
