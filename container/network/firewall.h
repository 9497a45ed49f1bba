// The host's rules for containers on a bridge (nft(8)), as text and through libnftables.
#pragma once

#include <string>
#include <vector>

#include "container/network/bridges.h"
#include "container/network/published_port.h"
#include "container/network/subnet.h"

struct nft_ctx;

namespace hull::container {

/// The rules that all of a bridge's containers share, in place of what its table has: from outside, other
/// bridges included, only answers come in, and what is published; to outside all is masqueraded; the host's
/// loopback is closed to containers, although what it sends to published ports goes over the bridge. An
/// internal one passes nothing on.
std::string bridge_rules(const BridgeConfig& bridge);
/// So that there is no such table, whether there was one or not.
std::string no_bridge_rules(const std::string& table);

/// A container's own: that what comes from its tap device has its addresses, and where its published ports
/// lead, which are of IPv4. They are in tables (`name`) that the kernel removes with the Firewall that has
/// made them, whoever dies.
std::string container_rules(const std::string& name, const std::string& tap, const Endpoint& endpoint,
                            const std::vector<PublishedPort>& ports);
/// So that there are none, before that object goes. `ports` as above.
std::string no_container_rules(const std::string& name, const std::vector<PublishedPort>& ports);

/// Lets the bridge's packets through the chain that Docker leaves to others (ip filter DOCKER-USER), behind
/// which it drops what it does not know. `listing` is that chain as list_docker_chain() has it: what is of
/// this bridge is replaced. Nothing where it is empty.
std::string docker_rules(const std::string& listing, const std::string& bridge);
std::string no_docker_rules(const std::string& listing, const std::string& bridge);

/// A connection to the kernel's nf_tables. One thread; and one at a time in a process, since libnftables has
/// state of its own.
class Firewall {
  public:
    /// Throws Error (no_resources).
    Firewall();
    Firewall(const Firewall&) = delete;
    Firewall& operator=(const Firewall&) = delete;
    ~Firewall();

    /// All of them or none. Throws Error (no_resources) with what nftables says first.
    void apply(const std::string& rules);
    /// With the rules' handles. Empty where Docker has no such chain.
    std::string list_docker_chain();

  private:
    nft_ctx* context_;
};

}  // namespace hull::container
