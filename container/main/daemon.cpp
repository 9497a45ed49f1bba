#include "container/main/daemon.h"

#include <grp.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/program_options.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/signals.h"
#include "container/api/engine.h"
#include "container/api/http_server.h"
#include "container/life/supervisor_process.h"
#include "container/main/daemon_config.h"
#include "container/main/store_options.h"
#include "container/main/usage.h"
#include "container/network/bridges.h"
#include "vmm/kvm/kvm.h"
#include "vmm/main/made_files.h"

namespace hull::container {

namespace options = boost::program_options;
namespace fs = std::filesystem;

namespace {

/// /run/hull.sock for root, $XDG_RUNTIME_DIR/hull.sock for others.
fs::path default_socket() {
    if (geteuid() == 0) {
        return "/run/hull.sock";
    }
    const char* folder = std::getenv("XDG_RUNTIME_DIR");
    if (folder == nullptr || *folder == '\0') {
        throw Error{ExitStatus::usage, "cannot tell where to listen", "XDG_RUNTIME_DIR is not set",
                    "give --socket PATH"};
    }
    return fs::path{folder} / "hull.sock";
}

/// Lets a group connect, too.
void give_to_group(const fs::path& socket, const std::string& name) {
    const std::string tried = "cannot give '" + socket.string() + "' to the group '" + name + "'";
    errno = 0;
    const group* entry = getgrnam(name.c_str());
    if (entry == nullptr) {
        throw Error{ExitStatus::usage, tried, errno == 0 ? "there is no such group" : errno_text(errno),
                    "make it (groupadd " + name + "), or give another (--group)"};
    }
    constexpr mode_t kForGroup = 0660;
    if (chown(socket.c_str(), static_cast<uid_t>(-1), entry->gr_gid) != 0 ||
        chmod(socket.c_str(), kForGroup) != 0) {
        throw Error{ExitStatus::bad_file, tried, errno_text(errno), "is this user a member of it?"};
    }
}

/// Whoever is no root has all of it anyway: the user network, and what is below the home folder.
void require_rootless() {
    if (geteuid() == 0) {
        throw Error{ExitStatus::usage, "cannot run the daemon without root's rights (--rootless)",
                    "root has started it", "start it as an ordinary user"};
    }
    static_cast<void>(open_kvm());
}

std::string value_of(const options::variables_map& values, const char* name) {
    return values.count(name) > 0 ? single_value(values[name].as<OptionValues>(), name) : "";
}

}  // namespace

ExitStatus run_daemon(const std::vector<std::string>& arguments) {
    Usage usage{
        .name = "daemon",
        .text =
            "Usage: hull daemon [OPTION…]\n"
            "Listens for clients of Docker's Engine API, so that 'docker' runs containers here, each in a\n"
            "virtual machine of its own, where DOCKER_HOST=unix://PATH says so. SIGTERM ends it; containers\n"
            "run on, and the next daemon finds them.\n"};
    usage.known.add_options()  //
        ("socket", options::value<OptionValues>()->value_name("PATH"),
         "where to listen (default: /run/hull.sock for root, $XDG_RUNTIME_DIR/hull.sock for others)")  //
        ("group", options::value<OptionValues>()->value_name("NAME"),
         "whose members may connect, besides this user and root: they get all that the daemon can do")  //
        ("config", options::value<OptionValues>()->value_name("FILE"),
         "a JSON object with these options as keys, over which those of the command line win (default: "
         "/etc/hull/daemon.json for root, ~/.config/hull/daemon.json for others, where it is there)")  //
        ("rootless", options::value<OptionValues>()->zero_tokens(),
         "refuse to be root, and to begin where this user cannot run machines")  //
        ("no-bridge", options::value<OptionValues>()->zero_tokens(),
         "make no bridge and no rules of nftables: containers have the user network");
    add_store_option(usage.known);
    add_registry_options(usage.known);
    const auto given = usage.read(arguments);
    if (!given) {
        return ExitStatus::success;
    }
    const options::variables_map values =
        with_config_file(usage.known, arguments, *given, default_daemon_config());
    if (values.count("rootless") > 0) {
        require_rootless();
    }
    // A thread for each container and each client, which mostly wait: they share one heap, and have no huge
    // pages.
    mallopt(M_ARENA_MAX, 1);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    const UniqueFd signals = catch_signals({SIGTERM, SIGINT});
    Store store = open_store(values, Store::Use::alone);
    RegistryOptions registries = registry_options(values);
    registries.credentials.clear();  // those of whoever asks are used, and no others
    Events events;
    Containers containers{store.root(),
                          store,
                          {},
                          events,
                          start_supervisor,
                          values.count("no-bridge") > 0 ? nullptr : host_bridges()};
    Engine engine{store, std::move(registries), containers, events};
    const fs::path path =
        fs::absolute(values.count("socket") > 0 ? fs::path{value_of(values, "socket")} : default_socket());
    MadeFiles made;
    constexpr mode_t kForUser = 0177;
    const mode_t before = umask(kForUser);  // from when the socket is there
    UniqueFd listener = made.listen_at(path);
    umask(before);
    if (const std::string group = value_of(values, "group"); !group.empty()) {
        give_to_group(path, group);
    }
    HttpServer server{std::move(listener), [&](ApiCall& call) { engine.answer(call); }, Engine::is_stream};
    std::fprintf(stderr, "hull: the daemon listens at %s (DOCKER_HOST=unix://%s)\n", path.c_str(),
                 path.c_str());
    server.run(signals.get());
    return ExitStatus::success;
}

}  // namespace hull::container
