#include "container/life/container_spec.h"

#include <algorithm>

namespace hull::container {

void give_host_name(ContainerSpec& spec, const std::string& id) {
    ContainerConfig& config = spec.run.config;
    if (!config.host_name.empty()) {
        return;
    }
    constexpr size_t kDigits = 12;
    config.host_name = id.substr(0, kDigits);
    spec.config["Hostname"] = config.host_name;
    // As apply_image() put it in; who sets another one keeps it.
    const auto variable = std::ranges::find(config.environment, "HOSTNAME=");
    if (variable != config.environment.end()) {
        *variable += config.host_name;
    }
}

}  // namespace hull::container
