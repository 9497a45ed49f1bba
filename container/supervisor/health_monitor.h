// Has a running container's health probed, again and again.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/event_loop.h"
#include "base/timer.h"
#include "base/unique_fd.h"
#include "container/supervisor/health.h"
#include "guest/agent/protocol.h"

namespace hull::container {

/// Runs one probe after the other, each as a further command of the guest's agent, and tells how it ended.
/// For the event loop's thread.
class HealthMonitor {
  public:
    struct Events {
        /// A probe is to be run as the agent's command of this number. Why it cannot be; empty: it was asked
        /// for.
        std::function<std::string(uint32_t number)> run;
        /// It is to end, at once.
        std::function<void(uint32_t number)> kill;
        std::function<void(HealthResult result)> told;
    };
    /// The agent's numbers from `first` on, so many of them, are its own. All outlive it.
    HealthMonitor(EventLoop& loop, const HealthProbe& probe, uint32_t first, uint32_t numbers, Events events);
    HealthMonitor(const HealthMonitor&) = delete;
    HealthMonitor& operator=(const HealthMonitor&) = delete;
    ~HealthMonitor();

    /// Probes from an interval on; and, while nothing is to be told, not any more. Both may come again.
    void begin();
    void stop();

    /// Whether it is that of the probe that runs: then what the agent tells of it is to be given to these.
    [[nodiscard]] bool is_running(uint32_t number) const { return is_running_ && number == number_; }
    void take_failure(const std::string& why);
    void take_end(int status);
    /// A connection of its streams.
    void take(agent::Type kind, UniqueFd connection);

  private:
    void take_time();
    void run();
    void read_output(size_t index);
    void finish_if_all_came();
    void finish(int exit_code, std::string output);
    void tell(int exit_code, std::string output);
    void close_streams();

    EventLoop& loop_;
    const HealthProbe& probe_;
    const uint32_t first_;
    const uint32_t numbers_;
    Events events_;
    Timer timer_;
    bool is_wanted_ = false;   // between begin() and stop()
    bool is_running_ = false;  // a probe
    bool is_told_ = false;     // how it ended, or nobody wants to know
    bool has_ended_ = false;   // its process
    int status_ = 0;
    uint32_t count_ = 0;  // of probes so far
    uint32_t number_ = 0;
    std::chrono::system_clock::time_point start_{};
    std::array<UniqueFd, 2> streams_;
    size_t outputs_left_ = 0;  // whose end has not come
    std::string output_;
    bool is_cut_ = false;  // the output
};

}  // namespace hull::container
