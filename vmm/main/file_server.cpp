#include "vmm/main/file_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "vmm/main/view.h"

namespace hull {

FileServerProcess start_file_server(const ViewConfig& view, const jail::Cgroup* group) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a socket pair", errno_text(errno)};
    }
    UniqueFd link{ends[0]};
    const UniqueFd far_end{ends[1]};
    return {.process = HelperProcess{{.name = "hull-file-server",
                                      .file = own_file("hull-file-server"),
                                      .arguments = {kViewPlace},
                                      .descriptors = {far_end.get()},
                                      .is_apart = true,
                                      .group = group,
                                      .prepare = [&] { return show(view.parts); }}},
            .link = std::move(link)};
}

}  // namespace hull
