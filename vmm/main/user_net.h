// Starts the user network of a machine (hull-user-net, devices/net/user).
#pragma once

#include <optional>

#include "base/unique_fd.h"
#include "vmm/machine/jail_config.h"
#include "vmm/machine/net_config.h"
#include "vmm/main/helper_process.h"

namespace hull {

/// A running user network. Owned by the keeper.
class UserNet {
  public:
    /// Starts the program, in `group` if there is one, with the layers of the jail that are its, too:
    /// namespaces (pid and mount; nothing is left of the files but the host's resolv.conf), user and seccomp.
    /// It is ready only after wait_until_ready(). Throws Error.
    UserNet(const NetConfig& config, const JailConfig& jail, const jail::Cgroup* group);

    /// Throws the Error that the program met, such as a port that is taken (no_resources).
    void wait_until_ready();
    /// The machine's end of the link (see virtio::Net); once.
    UniqueFd take_link() { return std::move(link_); }

  private:
    UniqueFd link_;
    UniqueFd report_;
    std::optional<HelperProcess> process_;
};

}  // namespace hull
