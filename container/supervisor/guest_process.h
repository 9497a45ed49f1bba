// The processes of a container, as its guest's kernel tells them.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// Plain values, which are the guest's words: printable ASCII, and otherwise anything.
struct GuestProcess {
    uint64_t pid = 0;            ///< as the guest's first namespace numbers it, and the next
    uint64_t parent = 0;         ///< 0: none, or one that is not seen
    uint64_t user = 0;           ///< effective
    std::string terminal{};      ///< "pts/0"; empty: none
    std::string state{};         ///< as ps has it: "Ss+"
    uint64_t cpu = 0;            ///< milliseconds that it has had of processors, and the next
    uint64_t age = 0;            ///< since its start
    uint64_t resident = 0;       ///< KiB of memory, and the next
    uint64_t size = 0;           ///< of its addresses
    std::string name{};          ///< of its program, up to kMostName bytes
    std::string command_line{};  ///< words with spaces between them; may be cut off; empty: it has none

    static constexpr size_t kMostName = 15;
    static constexpr size_t kMostCommandLine = 4096;

    /// Of what /proc/PID/stat, status and cmdline say (proc(5)) when the guest has run for `uptime`
    /// milliseconds. None where it makes no sense.
    static std::optional<GuestProcess> parse(std::string_view stat, std::string_view status,
                                             std::string_view command_line, uint64_t uptime);
};

/// All of a container's.
struct ProcessList {
    static constexpr size_t kMost = 400;

    uint64_t memory = 0;  ///< KiB that the guest has
    std::vector<GuestProcess> all{};

    /// As a message of the supervisor's (channel.h): of many processes, the command lines are cut off so that
    /// it is none too large.
    [[nodiscard]] boost::json::object to_json() const;
    /// Throws Error (bad_file) where it is none.
    static ProcessList from_json(const boost::json::object& object);
};

/// The numbers of /proc/uptime in milliseconds, of MemTotal in /proc/meminfo in KiB, and of cgroup.procs;
/// what is no number is 0, or left out.
uint64_t parse_uptime(std::string_view text);
uint64_t parse_memory(std::string_view text);
std::vector<uint64_t> parse_pids(std::string_view text);

}  // namespace hull::container
