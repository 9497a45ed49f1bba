// The host's bridges, to which containers' networks are attached.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "container/network/subnet.h"

namespace hull::container {

/// A bridge of the host's with addresses of its own. A plain value.
struct BridgeConfig {
    std::string name;   ///< of the interface, by which others know it: at most 15 bytes
    std::string table;  ///< of nftables, with its rules
    Subnet subnet;
    uint32_t gateway = 0;      ///< its own address; of the subnet
    bool is_internal = false;  ///< nothing leads out of it, nor in, but from the host itself
};

/// What networks need of the host. One thread at a time.
class Bridges {
  public:
    virtual ~Bridges() = default;

    /// Throws Error (no_resources) where this process has not the rights, or the host not the means.
    virtual void require() const = 0;
    /// Until what is answered is gone no other daemon chooses a subnet.
    [[nodiscard]] virtual std::shared_ptr<void> choose() const = 0;
    /// As /proc/net/route has it.
    [[nodiscard]] virtual std::string routes() const = 0;
    /// Whether the host has an interface of this name, be it what it may; and its subnet, where it has one.
    [[nodiscard]] virtual bool has(const std::string& interface) const = 0;
    [[nodiscard]] virtual std::optional<Subnet> subnet_of(const std::string& interface) const = 0;
    /// Makes one, or takes over what another daemon has left, and sets what its containers share of the
    /// host's packet rules. When what is answered goes, nothing is left, unless a container is attached: then
    /// all is left to it, and the next daemon. Throws Error (no_resources).
    [[nodiscard]] virtual std::shared_ptr<void> make(const BridgeConfig& config) const = 0;
    /// Has Docker's rules let a bridge's packets through where a dockerd has come since it was made. Throws
    /// Error (no_resources).
    virtual void pass_docker(const std::string& bridge) const = 0;
};

/// Those of this host.
std::unique_ptr<Bridges> host_bridges();

/// Of the daemon with this folder of data, which no two have at a time, the default network's: hull0 where it
/// is the usual one, else "hull" and eight hexadecimal digits.
std::string bridge_name(const std::filesystem::path& data_root);

}  // namespace hull::container
