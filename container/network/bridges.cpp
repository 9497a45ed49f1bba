#include "container/network/bridges.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
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

class Bridge {
  public:
    explicit Bridge(BridgeConfig config) : config_{std::move(config)} {
        Firewall firewall;
        // The rules first: as long as there is a bridge there is its guard.
        firewall.apply(bridge_rules(config_));
        try {
            make_bridge(config_.name, config_.subnet, config_.gateway);
            if (!config_.is_internal) {
                set_kernel("ip_forward", "1");
                set_kernel("conf/" + config_.name + "/route_localnet", "1");
            }
            firewall.apply(docker_rules(firewall.list_docker_chain(), config_.name));
        } catch (...) {
            remove(firewall);
            throw;
        }
    }
    Bridge(const Bridge&) = delete;
    Bridge& operator=(const Bridge&) = delete;
    ~Bridge() {
        if (has_ports(config_.name)) {
            return;
        }
        try {
            Firewall firewall;
            remove(firewall);
        } catch (const Error& error) {
            log_warning(error.what());
        }
    }

  private:
    void remove(Firewall& firewall) const {
        if (!remove_bridge(config_.name)) {
            log_warning("the bridge '" + config_.name + "' cannot be removed: " + errno_text(errno));
            return;
        }
        firewall.apply(no_bridge_rules(config_.table) +
                       no_docker_rules(firewall.list_docker_chain(), config_.name));
    }

    const BridgeConfig config_;
};

class HostBridges : public Bridges {
  public:
    void require() const override {
        if (geteuid() != 0) {
            throw Error{ExitStatus::no_resources, kTried, "that is root's to do"};
        }
        if (!open_taps().valid()) {
            throw Error{ExitStatus::no_resources, kTried, "/dev/net/tun: " + errno_text(errno)};
        }
        const Firewall firewall;
    }
    [[nodiscard]] std::shared_ptr<void> choose() const override {
        auto taps = std::make_shared<UniqueFd>(open_taps());
        flock(taps->get(), LOCK_EX);
        return taps;
    }
    [[nodiscard]] std::string routes() const override { return file_text("/proc/net/route"); }
    [[nodiscard]] bool has(const std::string& interface) const override {
        return if_nametoindex(interface.c_str()) != 0;
    }
    [[nodiscard]] std::optional<Subnet> subnet_of(const std::string& interface) const override {
        return container::subnet_of(interface);
    }
    [[nodiscard]] std::shared_ptr<void> make(const BridgeConfig& config) const override {
        return std::make_shared<Bridge>(config);
    }
    void pass_docker(const std::string& bridge) const override {
        if (has("docker0")) {  // else it need not be asked what rules there are, each time a container starts
            Firewall firewall;
            const std::string listing = firewall.list_docker_chain();
            if (no_docker_rules(listing, bridge).empty()) {
                firewall.apply(docker_rules(listing, bridge));
            }
        }
    }

  private:
    static UniqueFd open_taps() { return UniqueFd{open("/dev/net/tun", O_RDWR | O_CLOEXEC)}; }
};

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

std::unique_ptr<Bridges> host_bridges() {
    return std::make_unique<HostBridges>();
}

}  // namespace hull::container
