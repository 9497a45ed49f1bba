// What a container uses, as docker stats computes from it.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <map>
#include <string>

#include "container/life/containers.h"

namespace hull::container {

/// The figures of a moment.
class StatsSample {
  public:
    /// Of the files of its control group. They are the guest's words: what is no number counts as 0.
    static StatsSample take(const ContainerView& container, const std::map<std::string, std::string>& group);
    /// Of one that does not run.
    static StatsSample none(const ContainerView& container);

    /// GET /containers/ID/stats, with the sample before it.
    [[nodiscard]] boost::json::object show(const StatsSample& before) const;

  private:
    [[nodiscard]] boost::json::object cpu_json() const;

    std::string id_;
    std::string name_;
    std::chrono::system_clock::time_point time_{};  // the epoch: of one that does not run
    uint64_t cpu_ = 0;                              // nanoseconds
    uint64_t cpu_user_ = 0;
    uint64_t cpu_kernel_ = 0;
    uint64_t host_cpu_ = 0;  // nanoseconds that all processors of the host could have given until now
    uint64_t throttled_periods_ = 0;
    uint64_t periods_ = 0;
    uint64_t throttled_time_ = 0;
    uint64_t memory_ = 0;
    uint64_t memory_limit_ = 0;
    std::map<std::string, uint64_t> memory_stats_;
    uint64_t pids_ = 0;
    uint64_t bytes_read_ = 0;
    uint64_t bytes_written_ = 0;
};

}  // namespace hull::container
