#include "vmm/main/share_server.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "devices/fs/share.h"
#include "vmm/main/mounts.h"

namespace hull {

namespace fs = std::filesystem;

namespace {

/// Where the folder is mounted in the server's namespace: in a fresh tmpfs, which also holds what the server
/// in C writes and an ordinary user may not write elsewhere.
constexpr const char* kScratch = "/var/run";
constexpr const char* kMounted = "/var/run/hull-share";

constexpr const char* kQemus = "/usr/lib/qemu/virtiofsd";

/// Where distributions have it: Debian 12, Debian 13 and most others.
fs::path find_virtiofsd() {
    for (const char* file : {"/usr/libexec/virtiofsd", kQemus}) {
        if (access(file, X_OK) == 0) {
            return file;
        }
    }
    const char* variable = std::getenv("PATH");
    std::string rest = variable == nullptr ? "" : variable;
    while (!rest.empty()) {
        const size_t colon = rest.find(':');
        fs::path file = fs::path{rest.substr(0, colon)} / "virtiofsd";
        if (file.is_absolute() && access(file.c_str(), X_OK) == 0) {
            return file;
        }
        rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
    }
    throw Error{ExitStatus::bad_file, "cannot share folders (--share)", "virtiofsd is not installed",
                "install it (Debian 12: qemu-system-common, Debian 13: virtiofsd)"};
}

/// Whether the program takes the options of the one in Rust. QEMU's own folder has QEMU's.
bool is_in_rust(const fs::path& file) {
    if (file == kQemus) {
        return false;
    }
    const std::string help = output_of("virtiofsd", "exec \"$0\" --help >&3 2>&3", file.string());
    return help.find("--shared-dir") != std::string::npos;
}

/// It keeps one descriptor open for each file that the guest knows of.
void raise_limit_of_files() {
    constexpr rlim_t kMany = 1'000'000;
    const rlimit many{.rlim_cur = kMany, .rlim_max = kMany};
    rlimit limit{};
    if (setrlimit(RLIMIT_NOFILE, &many) != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/// A part of what is shared, before the scratch tmpfs hides where it may lie.
struct OpenedPart {
    UniqueFd mount;
    bool is_folder;
};

std::string open_parts(const ShareConfig& share, std::vector<OpenedPart>& opened) {
    const auto open_part = [&](const fs::path& path, bool readonly) -> std::string {
        const std::string name = share.parts.empty() ? "the folder" : "'" + path.string() + "'";
        UniqueFd mount = open_mount(path, readonly);
        struct stat status {};
        if (!mount.valid() || fstat(mount.get(), &status) != 0) {
            return failed(name + " cannot be mounted" + (readonly ? " read-only" : ""));
        }
        if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
            return name + " is neither a file nor a folder";
        }
        opened.push_back({std::move(mount), S_ISDIR(status.st_mode)});
        return "";
    };
    std::string why = share.parts.empty() ? open_part(share.path, share.readonly) : "";
    for (size_t index = 0; index < share.parts.size() && why.empty(); ++index) {
        why = open_part(share.parts[index].path, share.readonly || share.parts[index].readonly);
    }
    return why;
}

/// Puts the parts where they are found by their numbers, in a folder that nobody can write to.
std::string place_parts(const std::vector<OpenedPart>& parts) {
    size_t number = 0;
    for (const OpenedPart& part : parts) {
        const std::string place = std::string{kMounted} + "/" + std::to_string(++number);
        const bool is_made =
            part.is_folder ? mkdir(place.c_str(), 0755) == 0
                           : UniqueFd{open(place.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444)}.valid();
        if (!is_made || !put_mount(part.mount.get(), place)) {
            return failed("a part cannot be put at " + place);
        }
    }
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    return mount_setattr(AT_FDCWD, kMounted, 0, &attributes, sizeof attributes) == 0
               ? ""
               : failed("the folder cannot be made read-only");
}

/// In the new process: what fails, or nothing.
std::string confine(const ShareConfig& share) {
    raise_limit_of_files();
    if (!make_mounts_private()) {
        return failed("its mount namespace cannot be made private");
    }
    std::vector<OpenedPart> parts;
    if (std::string why = open_parts(share, parts); !why.empty()) {
        return why;
    }
    constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount("tmpfs", kScratch, "tmpfs", kFlags, "mode=755") != 0 || mkdir(kMounted, 0755) != 0) {
        return failed(std::string{"there can be no "} + kMounted);
    }
    if (!share.parts.empty()) {
        // A mount of its own, which alone is read-only: the server writes beside it.
        return mount("tmpfs", kMounted, "tmpfs", kFlags, "mode=755") == 0
                   ? place_parts(parts)
                   : failed(std::string{"there can be no "} + kMounted);
    }
    return put_mount(parts.front().mount.get(), kMounted)
               ? ""
               : failed(std::string{"the folder cannot be put at "} + kMounted);
}

/// Both servers accept a connection from a listening socket, once. Its name is the kernel's to choose and in
/// no file system; as the connection is there before the server is, nobody else can be the one.
std::pair<UniqueFd, UniqueFd> make_connection() {
    UniqueFd listener{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    UniqueFd connection{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_storage address{};
    address.ss_family = AF_UNIX;
    auto* name = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address.ss_family;
    if (!listener.valid() || !connection.valid() || bind(listener.get(), name, size) != 0 ||
        listen(listener.get(), 1) != 0 || getsockname(listener.get(), name, &(size = sizeof address)) != 0 ||
        connect(connection.get(), name, size) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a socket for virtiofsd", errno_text(errno)};
    }
    return {std::move(listener), std::move(connection)};
}

}  // namespace

ShareServer start_share_server(const ShareConfig& share, const jail::Cgroup* group) {
    const std::string tried = share.parts.empty() ? "cannot share the folder '" + share.path.string() + "'"
                                                  : "cannot share files and folders ('" + share.tag + "')";
    if (share.parts.empty()) {
        const UniqueFd folder{open(share.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (!folder.valid()) {
            throw Error{ExitStatus::bad_file, tried, errno_text(errno), "give a folder that you may read"};
        }
    }
    const fs::path file = find_virtiofsd();
    std::vector<std::string> arguments{"--fd=3", "--rlimit-nofile=0"};
    const std::string mounted = kMounted;
    // How long a guest believes what it was told of a file. Each name of a path is asked for again after
    // that, so that a guest that believes nothing asks nearly ten times as often; a tenth of a second is
    // enough for most. With the one in Rust it is a second, as a guest that believed nothing there could not
    // map files either.
    if (is_in_rust(file)) {
        arguments.insert(arguments.end(), {"--shared-dir=" + mounted, "--log-level=error"});
    } else {
        arguments.insert(arguments.end(), {"-o", "source=" + mounted, "-o", "log_level=err", "-o",
                                           share.cached ? "timeout=0.1" : "timeout=0"});
    }

    auto [listener, connection] = make_connection();
    HelperProcess process{{.name = "virtiofsd",
                           .file = file,
                           .arguments = std::move(arguments),
                           .descriptors = {listener.get()},
                           .is_apart = true,
                           .has_users = true,
                           .group = group,
                           .prepare = [&] { return confine(share); }}};
    listener.reset();
    return {std::move(process),
            virtio::greet_vhost_user(std::move(connection), virtio::share_kind(share.tag),
                                     tried + " by '" + file.string() + "'", "see what it says above")};
}

}  // namespace hull
