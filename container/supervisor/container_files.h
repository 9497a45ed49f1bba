// What a container has on the host's disk, and how its daemon and its supervisor share that.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "container/machine/container_config.h"
#include "container/machine/container_machine.h"
#include "container/supervisor/health.h"

namespace hull::container {

class JsonObject;

/// The names in a container's folder, DATA-ROOT/containers/ID (its first twelve digits, so that sockets find
/// room for their names). Who writes what: the daemon config.json, run.json and the disk before a supervisor
/// runs, and names while it does; the supervisor all else, while it runs.
struct ContainerFiles {
    std::filesystem::path folder;  ///< absolute

    [[nodiscard]] std::filesystem::path record() const {
        return folder / "config.json";
    }  ///< the daemon's own
    [[nodiscard]] std::filesystem::path run() const { return folder / "run.json"; }
    [[nodiscard]] std::filesystem::path state() const { return folder / "state.json"; }
    [[nodiscard]] std::filesystem::path disk() const { return folder / "disk.ext4"; }
    [[nodiscard]] std::filesystem::path log() const { return folder / "json.log"; }
    /// Who is found by name from there (NameTable), where it is in a network that was made by a user; the
    /// daemon's, at any time, by renaming.
    [[nodiscard]] std::filesystem::path names() const { return folder / "names"; }
    [[nodiscard]] std::filesystem::path socket() const { return folder / "supervisor"; }
};

/// What a log is to be.
struct LogConfig {
    bool is_kept = true;      ///< false: "none"
    uint64_t most_bytes = 0;  ///< of a file; then the next one begins; 0: no limit
    unsigned most_files = 1;  ///< that are kept, the one that is written to included; at least 1
};

/// All that a supervisor is told before it starts: what is run, and in what.
struct RunFile {
    ContainerConfig config;
    ContainerMachine machine;
    LogConfig log;
    bool input_ends_with_client = false;  ///< Docker's StdinOnce: the first client's end is the input's end
    bool is_thrown_away = false;          ///< nobody will look at its disk: it need not be synced
    bool is_open_afterwards = false;      ///< somebody wants to look into it as soon as the command has ended
    bool is_quiet = false;                ///< nothing is run: somebody wants to look into the container
    std::optional<HealthProbe> health;    ///< none: nobody probes it

    /// Throws Error (no_resources).
    void write(const ContainerFiles& files) const;
    /// Throws Error (bad_file).
    static RunFile read(const ContainerFiles& files);

    [[nodiscard]] boost::json::object to_json() const;
    /// Throws Error (bad_file), which begins with `tried`, where it is none of these.
    static RunFile from_json(const boost::json::object& object, const std::string& tried);
};

/// How a container's run stands, or how its last one ended.
struct RunState {
    enum class Stage {
        booting,  ///< the machine, up to its command's start
        running,  ///< the command
        ended,    ///< all of it; the supervisor goes
    };
    Stage stage = Stage::booting;
    bool is_paused = false;
    int supervisor = 0;                                ///< its process, while it is there
    std::chrono::system_clock::time_point started{};   ///< the command; the epoch where it has not
    std::chrono::system_clock::time_point finished{};  ///< likewise
    int exit_status = 0;                               ///< as ContainerSession::run() has it
    bool is_out_of_memory = false;                     ///< the guest's kernel killed one for its memory
    std::string error;                                 ///< why it could not run; empty: it could
    std::optional<Health> health;                      ///< where it is probed

    /// One object; from_json and from_object throw Error (bad_file) where it is none of these.
    [[nodiscard]] std::string to_json() const;
    static RunState from_json(const std::string& text);
    [[nodiscard]] boost::json::object to_object() const;
    static RunState from_object(const boost::json::object& object);
};

/// What is limited, as members of one object, and the reverse, which throws Error (bad_file).
boost::json::object limits_to_json(const GroupLimits& limits);
GroupLimits limits_from(const JsonObject& object);

/// A place on a bridge as one object, and the reverse, which throws Error (bad_file).
boost::json::object endpoint_to_json(const Endpoint& endpoint);
Endpoint endpoint_from(const JsonObject& object);

/// RFC 3339 with nanoseconds in UTC, as Docker shows times; the year 1 for the epoch, which is no time.
/// Nine digits behind the point.
std::string time_text(std::chrono::system_clock::time_point time);

}  // namespace hull::container
