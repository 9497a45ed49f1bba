// The program hull-supervisor FOLDER, which the daemon starts for each container that runs, with the
// listening socket as descriptor 3. A program of its own and not hulld, since there is one for each
// container: it links nothing of registries and HTTP.

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "container/supervisor/supervisor.h"
#include "vmm/main/keeper.h"

namespace hull::container {

namespace {

/// A port at the host is one, and so are both ends of what is relayed there.
void raise_limit_of_files() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

ExitStatus run(const std::vector<std::string>& arguments) {
    constexpr int kListener = 3;
    int type = 0;
    socklen_t size = sizeof type;
    if (arguments.size() != 1 || !arguments.front().starts_with('/') ||
        getsockopt(kListener, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
        throw Error{ExitStatus::usage, "cannot supervise a container",
                    "it takes a container's folder, and a socket as descriptor 3",
                    "leave that to 'hull daemon'"};
    }
    raise_limit_of_files();
    mallopt(M_ARENA_MAX, 1);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);  // of which each touched one would hold 2 MiB, for each container
    Supervisor{{arguments.front()}, UniqueFd{kListener}}.run();
    return ExitStatus::success;
}

}  // namespace

}  // namespace hull::container

int main(int argc, char** argv) {
    const std::vector<std::string> arguments{argv + 1, argv + argc};
    return static_cast<int>(hull::report_errors([&] { return hull::container::run(arguments); }));
}
