#include "container/api/create_limits.h"

#include <algorithm>
#include <string>
#include <thread>

#include "container/api/api_error.h"

namespace hull::container {

namespace {

[[noreturn]] void refuse(const std::string& message) {
    throw ApiError{400, message};
}

void parse_cpus(const JsonObject& host_config, ContainerConfig& config) {
    constexpr double kNanosecond = 1e-9;
    constexpr int64_t kDefaultPeriod = 100'000;
    const int64_t nanos = host_config.integer("NanoCpus").value_or(0);
    const int64_t period = host_config.integer("CpuPeriod").value_or(0);
    const int64_t quota = host_config.integer("CpuQuota").value_or(0);
    if (nanos != 0 && period != 0) {
        refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if (nanos != 0 && quota != 0) {
        refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if (period != 0 && (period < 1'000 || period > 1'000'000)) {
        refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if (quota > 0 && quota < 1'000) {
        refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    const unsigned count = std::max(1U, std::thread::hardware_concurrency());
    const double cpus =
        nanos != 0  ? static_cast<double>(nanos) * kNanosecond
        : quota > 0 ? static_cast<double>(quota) / static_cast<double>(period != 0 ? period : kDefaultPeriod)
                    : 0;
    if (nanos != 0 && (nanos < 0 || cpus < 0.01 || cpus > count)) {
        const std::string all = std::to_string(count);
        refuse("Range of CPUs is from 0.01 to " + all + ".00, as there are only " + all + " CPUs available");
    }
    if (cpus > 0) {
        // More than there are is no limit; less than what a control group's can be is the least.
        config.group.cpus = std::clamp(cpus, 0.01, static_cast<double>(count));
    }
}

}  // namespace

void parse_limits(const JsonObject& host_config, ContainerConfig& config) {
    constexpr int64_t kLeastMemory = int64_t{6} << 20;
    constexpr int64_t kMostMemory = int64_t{1} << 44;
    const int64_t memory = host_config.integer("Memory").value_or(0);
    if (memory != 0 && memory < kLeastMemory) {
        refuse("Minimum memory limit allowed is 6MB");
    }
    if (memory > kMostMemory) {
        refuse("Maximum memory limit allowed is 16TB");
    }
    if (memory != 0) {
        config.group.memory = static_cast<uint64_t>(memory);
    }
    // There is no swap in the guest, so what it may have of it need not be kept from it.
    const int64_t swap = host_config.integer("MemorySwap").value_or(0);
    if (memory == 0 && swap > 0) {
        refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if (swap > 0 && swap < memory) {
        refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    const int64_t swappiness = host_config.integer("MemorySwappiness").value_or(-1);
    if (swappiness < -1 || swappiness > 100) {
        refuse("Invalid value: " + std::to_string(swappiness) + ", valid memory swappiness range is 0-100");
    }
    const int64_t kept = host_config.integer("MemoryReservation").value_or(0);
    if (kept > 0 && kept < kLeastMemory) {
        refuse("Minimum memory reservation allowed is 6MB");
    }
    if (memory > 0 && kept > memory) {
        refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if (kept > 0) {
        config.group.kept_memory = static_cast<uint64_t>(kept);
    }
    parse_cpus(host_config, config);
    constexpr int64_t kMostPids = int64_t{1} << 22;
    const int64_t pids = host_config.integer("PidsLimit").value_or(0);
    if (pids > 0 && pids <= kMostPids) {
        config.group.processes = static_cast<uint32_t>(pids);
    }
    const int64_t shm = host_config.integer("ShmSize").value_or(0);
    if (shm < 0) {
        refuse("SHM size can not be less than 0");
    }
    if (shm > 0) {
        config.shm_size = static_cast<uint64_t>(shm);
    }
    for (const JsonObject& limit : host_config.objects("Ulimits")) {
        const auto number = [&](const char* key) { return std::to_string(limit.integer(key).value_or(0)); };
        config.limits.push_back(
            ProcessLimit::parse(limit.text("Name") + "=" + number("Soft") + ":" + number("Hard")));
    }
}

}  // namespace hull::container
