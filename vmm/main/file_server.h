// Starts hull-file-server, which shows a guest files of the host's.
#pragma once

#include "base/unique_fd.h"
#include "vmm/machine/view_config.h"
#include "vmm/main/helper_process.h"

namespace hull {

/// A hull-file-server that shows one folder.
struct FileServerProcess {
    HelperProcess process;
    UniqueFd link;  ///< for the machine's device (devices/fs/file_share.h)
};

/// Starts it, in a mount namespace of its own in which there is nothing but the parts; an ordinary user's is
/// in a user namespace too, where the user is root and nobody else exists. It is in `group` if there is one.
/// Throws Error (bad_file where the program is missing, host_unfit where it cannot be confined). The calling
/// process has one thread.
FileServerProcess start_file_server(const ViewConfig& view, const jail::Cgroup* group);

}  // namespace hull
