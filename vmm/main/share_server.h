// The programs that serve shared folders: virtiofsd, QEMU's in C or its successor in Rust.
#pragma once

#include "devices/virtio/vhost_user.h"
#include "vmm/machine/share_config.h"
#include "vmm/main/helper_process.h"

namespace hull {

/// A virtiofsd that serves one folder, or one with parts.
struct ShareServer {
    HelperProcess process;
    virtio::VhostUser connection;
};

/// Starts it for its only client. It sees the folder by a mount namespace of its own, in which a read-only
/// folder is mounted so; an ordinary user's is in a user namespace too, where the user is root and nobody
/// else exists. It is in `group` if there is one. Throws Error (bad_file where the folder or the program is
/// missing or the latter does not answer, host_unfit where it cannot be confined). The calling process has
/// one thread.
ShareServer start_share_server(const ShareConfig& share, const jail::Cgroup* group);

}  // namespace hull
