#include "container/network/bridge_network.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/small_file.h"
#include "base/unique_fd.h"
#include "container/image/digest.h"
#include "container/image/store.h"
#include "container/network/firewall.h"
#include "container/network/links.h"

namespace hull::container {

namespace fs = std::filesystem;

namespace {

const std::string kTried = "cannot make a bridge for containers";

/// Throws Error (no_resources).
void set_kernel(const std::string& setting, const std::string& value) {
    const fs::path path = fs::path{"/proc/sys/net/ipv4"} / setting;
    if (file_text(path) != value + "\n" && !write_file(path, value)) {
        throw Error{ExitStatus::no_resources, kTried, "'" + path.string() + "': " + errno_text(errno)};
    }
}

void remove_all(const std::string& bridge) {
    try {
        Firewall firewall;
        // As long as there is a bridge there is its guard.
        if (!remove_bridge(bridge)) {
            log_warning("the bridge '" + bridge + "' cannot be removed: " + errno_text(errno));
            return;
        }
        firewall.apply(no_bridge_rules(bridge) + no_docker_rules(firewall.list_docker_chain(), bridge));
    } catch (const Error& error) {
        log_warning(error.what());
    }
}

}  // namespace

std::string bridge_name(const fs::path& data_root) {
    std::error_code ignored;
    const fs::path root = fs::weakly_canonical(data_root, ignored);
    if (root == default_data_root()) {
        return "hull0";
    }
    constexpr size_t kDigits = 8;
    return "hull" + Digest::of(std::as_bytes(std::span{root.native()})).digits().substr(0, kDigits);
}

std::unique_ptr<BridgeNetwork> BridgeNetwork::make(const fs::path& data_root) {
    const std::string bridge = bridge_name(data_root);
    try {
        const UniqueFd taps{open("/dev/net/tun", O_RDWR | O_CLOEXEC)};
        if (!taps.valid() || geteuid() != 0) {
            throw Error{ExitStatus::no_resources, kTried,
                        geteuid() != 0 ? "that is root's to do" : "/dev/net/tun: " + errno_text(errno)};
        }
        flock(taps.get(), LOCK_EX);  // two daemons do not choose the same addresses
        Firewall firewall;
        std::optional<Subnet> subnet = subnet_of(bridge);
        if (!subnet) {
            subnet = free_subnet(file_text("/proc/net/route"));
        }
        if (!subnet) {
            throw Error{ExitStatus::no_resources, kTried, "the host's routes take all private addresses"};
        }
        firewall.apply(bridge_rules(bridge, *subnet));
        std::unique_ptr<BridgeNetwork> network{new BridgeNetwork{bridge, *subnet}};
        make_bridge(bridge, *subnet);
        set_kernel("ip_forward", "1");
        set_kernel("conf/" + bridge + "/route_localnet", "1");
        firewall.apply(docker_rules(firewall.list_docker_chain(), bridge));
        return network;
    } catch (const Error& error) {
        log_warning("containers get the user network, and no addresses of their own: " +
                    std::string{error.what()});
        return nullptr;
    }
}

BridgeNetwork::BridgeNetwork(std::string bridge, const Subnet& subnet)
    : bridge_{std::move(bridge)}, subnet_{subnet} {}

BridgeNetwork::~BridgeNetwork() {
    if (!has_ports(bridge_)) {
        remove_all(bridge_);
    }
}

Endpoint BridgeNetwork::endpoint_beside(const std::set<uint32_t>& taken) const {
    const std::optional<uint32_t> address = free_address(subnet_, taken);
    if (!address) {
        throw Error{ExitStatus::no_resources, "cannot give a container an address",
                    "all of " + subnet_.text() + " are taken"};
    }
    return {.bridge = bridge_, .address = *address, .gateway = subnet_.gateway(), .prefix = subnet_.prefix};
}

}  // namespace hull::container
