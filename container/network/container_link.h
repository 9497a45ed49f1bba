// What a container on a bridge has of the host's network while it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "container/network/firewall.h"
#include "container/network/published_port.h"
#include "container/network/subnet.h"

namespace hull::container {

/// A tap device on a bridge, the rules for it, and the published ports that lead there, which nobody else at
/// the host can take. All of it goes with this object or its process, however that ends. One thread.
class ContainerLink {
  public:
    static constexpr size_t kMost = 16;  ///< of a container

    /// Of the container's links that of this number, 0 to 15. `id` has twelve digits at most. `ports` are of
    /// IPv4. `firewall` outlives it. Throws Error (no_resources), worded as dockerd does where a port is
    /// taken.
    ContainerLink(Firewall& firewall, const std::string& id, size_t number, const Endpoint& endpoint,
                  const std::vector<PublishedPort>& ports);
    ContainerLink(const ContainerLink&) = delete;
    ContainerLink& operator=(const ContainerLink&) = delete;
    ~ContainerLink();

    /// For `hull boot --net`.
    [[nodiscard]] std::string net_word() const { return "tap=" + tap_name_ + ",mac=" + endpoint_.mac; }
    [[nodiscard]] const std::string& tap() const { return tap_name_; }
    [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }

    /// Has these ports lead there, too, where there were none. Throws as the constructor does; there are none
    /// then.
    void publish(const std::vector<PublishedPort>& ports);
    [[nodiscard]] bool has_ports() const { return !ports_.empty(); }

  private:
    void set_rules(const std::string& before, const std::vector<PublishedPort>& ports);
    /// Nobody who sends datagrams to the container's ports is led to where they led before.
    void forget_flows() const;

    Firewall& firewall_;
    std::string name_;  // of its tables
    std::string tap_name_;
    Endpoint endpoint_;
    std::vector<PublishedPort> ports_;
    std::vector<UniqueFd> reserved_;
    UniqueFd tap_;
};

}  // namespace hull::container
