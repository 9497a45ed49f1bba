// Messages about a running machine, on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace hull {

/// Writes the line "hull: warning: MESSAGE" to standard error. Any thread.
void log_warning(std::string_view message);

/// Writes a line as it is to standard error. Any thread, and handlers of signals.
void write_log_line(std::string_view line);

/// Holds one cause of messages to one line a second, since a guest can repeat its mistakes at will. One
/// object a cause; any thread.
class RateLimitedLog {
  public:
    /// Logs a warning unless one was logged through this object less than a second ago; then it is counted,
    /// and the next line tells the number.
    void warning(std::string_view message);

  private:
    std::mutex mutex_;
    std::chrono::steady_clock::time_point last_{};
    uint64_t suppressed_ = 0;
};

}  // namespace hull
