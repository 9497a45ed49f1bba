// The network that a daemon's containers have by default: a bridge of the host's with addresses of its own.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "container/network/subnet.h"

namespace hull::container {

/// The bridge and what its containers share of the host's packet rules. Of each container there is nothing
/// here: its supervisor has all (ContainerLink). Any thread.
class BridgeNetwork {
  public:
    /// Makes it, or takes over what a daemon with this folder of data has left, with the subnet that has
    /// then. Nothing where this process has not the rights, or the host not the means, which is told in a
    /// line of the log.
    static std::unique_ptr<BridgeNetwork> make(const std::filesystem::path& data_root);
    BridgeNetwork(const BridgeNetwork&) = delete;
    BridgeNetwork& operator=(const BridgeNetwork&) = delete;
    /// Leaves nothing behind, unless a container is attached: then all is left to it, and the next daemon.
    ~BridgeNetwork();

    [[nodiscard]] const std::string& bridge() const { return bridge_; }
    [[nodiscard]] const Subnet& subnet() const { return subnet_; }
    /// A place with the lowest address that is not taken. Throws Error (no_resources).
    [[nodiscard]] Endpoint endpoint_beside(const std::set<uint32_t>& taken) const;

  private:
    BridgeNetwork(std::string bridge, const Subnet& subnet);

    const std::string bridge_;
    const Subnet subnet_;
};

/// Of the daemon with this folder of data, which no two have at a time: hull0 where it is the usual one, else
/// "hull" and eight hexadecimal digits.
std::string bridge_name(const std::filesystem::path& data_root);

}  // namespace hull::container
