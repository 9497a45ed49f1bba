// What a container was created as.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "container/network/container_link.h"
#include "container/network/subnet.h"
#include "container/supervisor/container_files.h"

namespace hull::container {

/// Who starts it again when it has ended.
struct RestartPolicy {
    enum class Kind { no, always, unless_stopped, on_failure };
    Kind kind = Kind::no;
    unsigned most = 0;  ///< tries of on_failure; 0: no limit
};

/// A port of the container's at the host.
struct PortBinding {
    std::string protocol = "tcp";  ///< or "udp"
    uint16_t container_port = 0;
    std::string host_address{};  ///< of IPv4 or IPv6; empty: all of both
    uint16_t host_port = 0;      ///< 0: one that is free

    bool operator==(const PortBinding&) const = default;
};

/// What is mounted into a container, but for what is in memory only.
struct ContainerMount {
    enum class Kind { bind, volume };
    Kind kind = Kind::bind;
    std::string source;  ///< absolute, at the host; of a volume once that is made
    std::string target;  ///< absolute, and no "/"
    std::string volume;  ///< its name; empty until it is made where it is anonymous
    std::string mode;    ///< Docker's word for it, as inspect shows it: "ro,z"
    bool is_read_only = false;
    /// Whether the guest may believe for a moment what it was told of files; none: of a volume that is in no
    /// other container.
    std::optional<bool> is_cached{};
    bool makes_source = false;  ///< of a bind: a folder is made where nothing is
    bool is_filled = false;     ///< of a volume: with what the image has at the target, where it is empty
    bool is_anonymous = false;  ///< it goes with its last container, where that is wanted
    /// Of a volume that is made for this; not kept here.
    std::map<std::string, std::string> labels{};
    std::map<std::string, std::string> options{};
};

/// That a container is in a network.
struct Attachment {
    std::string name;                    ///< the network's, or what its user calls it while it is not known
    std::string network{};               ///< its id; empty while it is not known
    std::vector<std::string> aliases{};  ///< further names that the container has there
    /// Further names there that only the container itself knows: of which other one (its name or id), and
    /// what it is called.
    std::vector<std::pair<std::string, std::string>> links{};
    std::optional<uint32_t> address{};   ///< that it is to have; none: one that is free
    std::string mac{};                   ///< likewise; empty: what follows from the address
    std::optional<Endpoint> endpoint{};  ///< from before it starts to its end; none on the user network

    static constexpr size_t kMost = ContainerLink::kMost;  ///< of a container
};

/// Kept in config.json. Does not change but by Containers::update().
struct ContainerSpec {
    std::string image;                ///< its id: "sha256:…"
    std::string image_name;           ///< as the user has it
    boost::json::object config;       ///< Docker's Config, whole, as inspect shows it
    boost::json::object host_config;  ///< and HostConfig
    RunFile run;                      ///< what of its machine follows from image, host and ports is put in at
                                      ///< each start
    std::vector<PortBinding> ports;
    std::vector<ContainerMount> mounts;
    /// What it is in at first; empty: the default network, or none. Not kept here.
    std::vector<Attachment> networks;
    RestartPolicy restart;
    bool is_removed_at_end = false;
    int stop_signal = 15;
    std::chrono::seconds stop_timeout{10};
};

/// What `docker update` changes of a spec. What it has of `host_config` is whole.
struct SpecChange {
    boost::json::object host_config;
    RestartPolicy restart;
    GroupLimits limits;
};

/// Where its user gave it no host name: the first twelve digits of its id, as Docker does.
void give_host_name(ContainerSpec& spec, const std::string& id);

}  // namespace hull::container
