// What a container was created as.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

/// Does not change once it is made; kept in config.json.
struct ContainerSpec {
    std::string image;                ///< its id: "sha256:…"
    std::string image_name;           ///< as the user has it
    boost::json::object config;       ///< Docker's Config, whole, as inspect shows it
    boost::json::object host_config;  ///< and HostConfig
    RunFile run;                      ///< what of its machine follows from image, host and ports is put in at
                                      ///< each start
    std::vector<PortBinding> ports;
    RestartPolicy restart;
    bool is_removed_at_end = false;
    int stop_signal = 15;
    std::chrono::seconds stop_timeout{10};
};

/// Where its user gave it no host name: the first twelve digits of its id, as Docker does.
void give_host_name(ContainerSpec& spec, const std::string& id);

}  // namespace hull::container
