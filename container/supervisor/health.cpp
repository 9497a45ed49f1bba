#include "container/supervisor/health.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <string_view>
#include <utility>

#include "container/image/json.h"

namespace hull::container {

namespace json = boost::json;
using std::chrono::nanoseconds;
using std::chrono::system_clock;

namespace {

constexpr std::array<std::string_view, 3> kWords{"starting", "healthy", "unhealthy"};

int64_t count(system_clock::time_point time) {
    return nanoseconds{time.time_since_epoch()}.count();
}

system_clock::time_point time_from(const JsonObject& object, std::string_view key) {
    return system_clock::time_point{nanoseconds{object.integer(key).value_or(0)}};
}

/// Of an image's, which nobody has checked.
nanoseconds usable(nanoseconds said, nanoseconds usual) {
    constexpr nanoseconds kMost = std::chrono::hours{24 * 365};
    return said == nanoseconds{0} ? usual : std::clamp(said, HealthProbe::kLeast, kMost);
}

}  // namespace

std::optional<HealthProbe> HealthProbe::of(const HealthCheck& check, const std::vector<std::string>& shell) {
    const bool is_shell = !check.test.empty() && check.test.front() == "CMD-SHELL";
    if (check.test.empty() || (!is_shell && check.test.front() != "CMD")) {
        return std::nullopt;
    }
    HealthProbe probe;
    if (is_shell) {
        probe.command = shell.empty() ? std::vector<std::string>{"/bin/sh", "-c"} : shell;
    }
    probe.command.insert(probe.command.end(), check.test.begin() + 1, check.test.end());
    if (probe.command.empty()) {
        probe.command.emplace_back();  // which fails, each time
    }
    probe.interval = usable(check.interval, probe.interval);
    probe.timeout = usable(check.timeout, probe.timeout);
    probe.start_period = usable(check.start_period, nanoseconds{0});
    probe.retries = check.retries > 0 ? check.retries : probe.retries;
    return probe;
}

json::object HealthProbe::to_json() const {
    return {{"command", json::array(command.begin(), command.end())},
            {"interval", interval.count()},
            {"timeout", timeout.count()},
            {"start_period", start_period.count()},
            {"retries", retries}};
}

HealthProbe HealthProbe::from_json(const JsonObject& given) {
    const auto duration = [&](std::string_view key) {
        return nanoseconds{static_cast<int64_t>(given.number(key))};
    };
    HealthProbe probe;
    probe.command = given.texts("command");
    probe.interval = duration("interval");
    probe.timeout = duration("timeout");
    probe.start_period = duration("start_period");
    probe.retries = static_cast<int64_t>(given.number("retries"));
    if (probe.command.empty() || probe.interval < kLeast || probe.timeout < kLeast || probe.retries < 1) {
        given.refuse("its probe of health is none");
    }
    return probe;
}

std::string Health::word() const {
    return std::string{kWords.at(static_cast<size_t>(status))};
}

bool Health::take(HealthResult result, const HealthProbe& probe, system_clock::time_point started) {
    const Status before = status;
    if (result.exit_code == 0) {
        failing_streak = 0;
        status = Status::healthy;
    } else if (status != Status::starting || result.start - started >= probe.start_period) {
        ++failing_streak;
        if (failing_streak >= probe.retries) {
            status = Status::unhealthy;
        }
    }
    if (log.size() >= kMostResults) {
        log.erase(log.begin(), log.end() - (kMostResults - 1));
    }
    log.push_back(std::move(result));
    return status != before;
}

json::object Health::to_json() const {
    json::array results;
    for (const HealthResult& each : log) {
        results.push_back(json::object{{"start", count(each.start)},
                                       {"end", count(each.end)},
                                       {"exit_code", each.exit_code},
                                       {"output", each.output}});
    }
    return {{"status", word()}, {"failing_streak", failing_streak}, {"log", std::move(results)}};
}

Health Health::from_json(const JsonObject& given) {
    Health health;
    const std::string word = given.text("status");
    const auto* const found = std::ranges::find(kWords, word);
    if (found == kWords.end()) {
        given.refuse("there is no health '" + word + "'");
    }
    health.status = static_cast<Status>(found - kWords.begin());
    health.failing_streak = static_cast<int64_t>(given.number("failing_streak"));
    for (const JsonObject& each : given.objects("log")) {
        health.log.push_back({.start = time_from(each, "start"),
                              .end = time_from(each, "end"),
                              .exit_code = static_cast<int>(each.integer("exit_code").value_or(-1)),
                              .output = each.text("output")});
    }
    if (health.log.size() > kMostResults) {
        given.refuse("its log of health is too long");
    }
    return health;
}

}  // namespace hull::container
