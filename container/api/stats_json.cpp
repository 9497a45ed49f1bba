#include "container/api/stats_json.h"

#include <charconv>
#include <limits>
#include <sstream>
#include <string_view>
#include <thread>

namespace hull::container {

namespace json = boost::json;

namespace {

using Group = std::map<std::string, std::string>;

constexpr uint64_t kMicrosecond = 1'000;  // nanoseconds

std::string_view file(const Group& group, const char* name) {
    const auto found = group.find(name);
    return found == group.end() ? std::string_view{} : found->second;
}

uint64_t number(std::string_view text) {
    uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

/// Of lines of "NAME NUMBER".
std::map<std::string, uint64_t> numbers(std::string_view text) {
    constexpr size_t kMostNames = 256;
    std::map<std::string, uint64_t> all;
    std::istringstream lines{std::string{text}};
    std::string name;
    std::string value;
    while (all.size() < kMostNames && lines >> name >> value) {
        all[name] = number(value);
    }
    return all;
}

uint64_t of(const std::map<std::string, uint64_t>& all, const char* name) {
    const auto found = all.find(name);
    return found == all.end() ? 0 : found->second;
}

/// As JSON's clients take it.
uint64_t product(uint64_t value, uint64_t factor) {
    constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    return value > kMost / factor ? kMost : value * factor;
}

/// Of io.stat's "rbytes=N", of all devices.
uint64_t sum_of(std::string_view text, std::string_view key) {
    uint64_t sum = 0;
    for (size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
        sum += number(text.substr(at + key.size()));
    }
    return sum;
}

unsigned count_cpus() {
    return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

StatsSample StatsSample::none(const ContainerView& container) {
    StatsSample sample;
    sample.id_ = container.id;
    sample.name_ = "/" + container.name;
    return sample;
}

StatsSample StatsSample::take(const ContainerView& container, const Group& group) {
    StatsSample sample = none(container);
    if (group.empty()) {
        return sample;
    }
    sample.time_ = std::chrono::system_clock::now();
    // Docker's client divides by it, for a share of the host.
    const auto up = std::chrono::steady_clock::now().time_since_epoch();
    sample.host_cpu_ = static_cast<uint64_t>(std::chrono::nanoseconds{up}.count()) * count_cpus();
    const auto cpu = numbers(file(group, "cpu.stat"));
    sample.cpu_ = product(of(cpu, "usage_usec"), kMicrosecond);
    sample.cpu_user_ = product(of(cpu, "user_usec"), kMicrosecond);
    sample.cpu_kernel_ = product(of(cpu, "system_usec"), kMicrosecond);
    sample.periods_ = of(cpu, "nr_periods");
    sample.throttled_periods_ = of(cpu, "nr_throttled");
    sample.throttled_time_ = product(of(cpu, "throttled_usec"), kMicrosecond);
    sample.memory_ = number(file(group, "memory.current"));
    const auto& limit = container.spec->run.config.group.memory;
    sample.memory_limit_ = limit.value_or(ContainerMachine::memory_of(limit));
    sample.memory_stats_ = numbers(file(group, "memory.stat"));
    sample.pids_ = number(file(group, "pids.current"));
    sample.bytes_read_ = sum_of(file(group, "io.stat"), "rbytes=");
    sample.bytes_written_ = sum_of(file(group, "io.stat"), "wbytes=");
    return sample;
}

json::object StatsSample::cpu_json() const {
    json::object shown{
        {"cpu_usage",
         {{"total_usage", cpu_}, {"usage_in_kernelmode", cpu_kernel_}, {"usage_in_usermode", cpu_user_}}},
        {"throttling_data",
         {{"periods", periods_},
          {"throttled_periods", throttled_periods_},
          {"throttled_time", throttled_time_}}}};
    if (host_cpu_ > 0) {
        shown["system_cpu_usage"] = host_cpu_;
        shown["online_cpus"] = count_cpus();
    }
    return shown;
}

json::object StatsSample::show(const StatsSample& before) const {
    json::object memory;
    json::object pids;
    json::object disk{{"io_service_bytes_recursive", nullptr}};
    if (time_ != std::chrono::system_clock::time_point{}) {
        json::object stats;
        for (const auto& [name, value] : memory_stats_) {
            stats[name] = value;
        }
        memory = {{"usage", memory_}, {"limit", memory_limit_}, {"stats", std::move(stats)}};
        pids = {{"current", pids_}};
        disk = {{"io_service_bytes_recursive",
                 json::array{{{"major", 254}, {"minor", 0}, {"op", "read"}, {"value", bytes_read_}},
                             {{"major", 254}, {"minor", 0}, {"op", "write"}, {"value", bytes_written_}}}}};
    }
    return {{"read", time_text(time_)},
            {"preread", time_text(before.time_)},
            {"pids_stats", std::move(pids)},
            {"blkio_stats", std::move(disk)},
            {"num_procs", 0},
            {"storage_stats", json::object{}},
            {"cpu_stats", cpu_json()},
            {"precpu_stats", before.cpu_json()},
            {"memory_stats", std::move(memory)},
            {"name", name_},
            {"id", id_}};
}

}  // namespace hull::container
