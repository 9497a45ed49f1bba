// What a machine may use of its host at most (--cpu-quota, --memory-limit, --pids-limit, --io-limit).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace hull {

/// What is read from and written to a disk of the host's in a second; 0: any number.
struct IoLimit {
    uint64_t read_bytes = 0;
    uint64_t write_bytes = 0;
    uint32_t reads = 0;
    uint32_t writes = 0;

    /// "rbps=SIZE", "wbps=SIZE", "riops=N" and "wiops=N", one or more with commas between. Throws Error
    /// (usage).
    static IoLimit parse(const std::string& text);
    [[nodiscard]] std::string text() const;
};

/// Limits of a machine with all of its processes, which are the machine's own and its helpers'. The host's
/// kernel holds them (see Cgroup).
struct LimitsConfig {
    static constexpr uint32_t kLeastCpu = 10;         ///< less than that the kernel does not divide
    static constexpr uint32_t kMostCpu = 1'000'000;   ///< a thousand processors
    static constexpr uint32_t kMostPids = 4'194'304;  ///< Linux has no more
    static constexpr uint64_t kLeastMemory = uint64_t{16} << 20;  ///< no machine starts with less

    uint32_t cpu = 0;     ///< thousandths of a processor's time; 0: any
    uint64_t memory = 0;  ///< bytes, the guest's and Hull's own; 0: any
    uint32_t pids = 0;    ///< processes and threads; 0: any
    std::optional<IoLimit> io;

    [[nodiscard]] bool any() const { return cpu != 0 || memory != 0 || pids != 0 || io; }
};

/// A size in whole MiB, at least LimitsConfig::kLeastMemory. Throws Error (usage).
uint64_t parse_memory_limit(const std::string& text);
/// Processors and a fraction ("1.5") in thousandths, LimitsConfig::kLeastCpu to kMostCpu. Throws Error
/// (usage).
uint32_t parse_cpu_quota(const std::string& text);
/// The reverse.
std::string cpu_quota_text(uint32_t thousandths);

}  // namespace hull
