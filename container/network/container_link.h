// What a container on a bridge has of the host's network while it runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "container/network/firewall.h"
#include "container/network/published_port.h"
#include "container/network/subnet.h"

namespace hull::container {

/// A tap device on the bridge, the rules of the container, and its published ports, which nobody else at the
/// host can take. All of it goes with this object or its process, however that ends. One thread.
class ContainerLink {
  public:
    /// `id` has twelve digits at most. `ports` are of IPv4. Throws Error (no_resources), worded as dockerd
    /// does where a port is taken.
    ContainerLink(const std::string& id, const Endpoint& endpoint, const std::vector<PublishedPort>& ports);
    ContainerLink(const ContainerLink&) = delete;
    ContainerLink& operator=(const ContainerLink&) = delete;
    ~ContainerLink();

    /// For `hull boot --net`.
    [[nodiscard]] const std::string& net_word() const { return net_word_; }

  private:
    /// Nobody who sends datagrams to the container's ports is led to where they led before.
    void forget_flows() const;

    uint32_t address_;
    std::vector<PublishedPort> ports_;
    std::vector<UniqueFd> reserved_;
    UniqueFd tap_;
    std::optional<Firewall> firewall_;
    std::string net_word_;
};

}  // namespace hull::container
