// What the daemon keeps of a container while nothing runs.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "container/life/container_spec.h"

namespace hull::container {

/// config.json, with the run.json beside it.
struct ContainerRecord {
    std::string id;    ///< 64 hexadecimal digits
    std::string name;  ///< is_name()
    std::chrono::system_clock::time_point created{};
    ContainerSpec spec;
    std::vector<Attachment> networks;
    bool was_stopped = false;  ///< by its user, and not started since: its policy does not start it
    unsigned restarts = 0;     ///< by its policy, since its user has started it

    /// Replaces the one that is there as a whole. run.json, which supervisors read, is create_files()'s, and
    /// written again at each start and by Containers::update().
    void write(const ContainerFiles& files) const;
    /// Makes the folder and all that a created container has in it, its disk included, which is made of one
    /// of `root`'s templates. Record and disk are on the host's disk then. Leaves nothing where it fails.
    void create_files(const std::filesystem::path& root, const ContainerFiles& files) const;
    /// All throw Error: no_resources, or bad_file.
    static ContainerRecord read(const ContainerFiles& files);
};

}  // namespace hull::container
