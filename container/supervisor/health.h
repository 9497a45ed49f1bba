// How a container's health is probed, and what is known of it: dockerd's rules.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "container/image/image_config.h"

namespace hull::container {

/// What tells a container's health: a command that is run in it again and again. A plain value.
struct HealthProbe {
    static constexpr std::chrono::nanoseconds kLeast = std::chrono::milliseconds{1};  ///< of each time

    std::vector<std::string> command;                             ///< the program first; not empty
    std::chrono::nanoseconds interval{std::chrono::seconds{30}};  ///< from one's end to the next one's start
    std::chrono::nanoseconds timeout{std::chrono::seconds{30}};
    std::chrono::nanoseconds start_period{};  ///< in which one that has not been well yet may fail
    int64_t retries = 3;                      ///< that fail, until it is unhealthy; at least 1

    /// What a configuration says, and what is usual where it says nothing. None where nothing is to be run.
    /// `shell` is CMD-SHELL's; empty: /bin/sh -c.
    static std::optional<HealthProbe> of(const HealthCheck& check, const std::vector<std::string>& shell);

    [[nodiscard]] boost::json::object to_json() const;
    /// Throws Error (bad_file) where it is none.
    static HealthProbe from_json(const JsonObject& given);
};

/// How a probe ended.
struct HealthResult {
    static constexpr size_t kMostOutput = 4096;  ///< bytes of a probe's output that are kept

    std::chrono::system_clock::time_point start{};
    std::chrono::system_clock::time_point end{};
    int exit_code = 0;  ///< 0: the container is well; -1: the probe could not be run, or took too long
    std::string output{};
};

/// A container's health.
struct Health {
    enum class Status { starting, healthy, unhealthy };
    static constexpr size_t kMostResults = 5;  ///< that are kept

    Status status = Status::starting;
    int64_t failing_streak = 0;
    std::vector<HealthResult> log{};  ///< the oldest first

    /// Docker's word.
    [[nodiscard]] std::string word() const;
    /// Whether the status has changed with this. `started`: the container.
    bool take(HealthResult result, const HealthProbe& probe, std::chrono::system_clock::time_point started);

    [[nodiscard]] boost::json::object to_json() const;
    /// Throws Error (bad_file) where it is none.
    static Health from_json(const JsonObject& given);
};

}  // namespace hull::container
