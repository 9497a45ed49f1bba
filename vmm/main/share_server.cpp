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

std::string failed(const std::string& what) {
    return what + ": " + errno_text(errno);
}

/// A file or folder of the host's as a mount of its own, which is nowhere yet.
UniqueFd open_mount(const fs::path& source) {
    return UniqueFd{open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)};
}

bool make_readonly(int mount) {
    mount_attr readonly{};
    readonly.attr_set = MOUNT_ATTR_RDONLY;
    return mount_setattr(mount, "", AT_EMPTY_PATH | AT_RECURSIVE, &readonly, sizeof readonly) == 0;
}

bool put_at(int mount, const fs::path& place) {
    return move_mount(mount, "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

/// A part that has been looked at, before other things are mounted over where it is.
struct OpenedPart {
    fs::path place;
    UniqueFd mount;  // none for a symbolic link
    bool is_folder = false;
    fs::path link_target;
};

/// What fails, or nothing.
std::string open_parts(const ShareConfig& share, std::vector<OpenedPart>& opened) {
    for (const ShareConfig::Part& part : share.parts) {
        const auto cannot = [&] { return failed("'" + part.source.string() + "' cannot be mounted"); };
        OpenedPart found{.place = fs::path{kMounted} / part.place, .mount = {}, .link_target = {}};
        struct stat status {};
        if (lstat(part.source.c_str(), &status) != 0) {
            if (errno == ENOENT) {
                continue;
            }
            return cannot();
        }
        if (S_ISLNK(status.st_mode)) {
            std::error_code error;
            found.link_target = fs::read_symlink(part.source, error);
        } else {
            found.is_folder = S_ISDIR(status.st_mode);
            found.mount = open_mount(part.source);
            if (!found.mount.valid() || (share.readonly && !make_readonly(found.mount.get()))) {
                return cannot();
            }
        }
        opened.push_back(std::move(found));
    }
    return "";
}

/// Fills a folder of its own at kMounted, which nobody can write into. What fails, or nothing.
std::string place_parts(const std::vector<OpenedPart>& parts) {
    if (mount("tmpfs", kMounted, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0) {
        return failed("a folder for its parts cannot be made");
    }
    for (const OpenedPart& part : parts) {
        std::error_code error;
        fs::create_directories(part.place.parent_path(), error);
        if (part.is_folder) {
            fs::create_directory(part.place, error);
        } else if (part.mount.valid()) {
            const UniqueFd made{open(part.place.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444)};
        } else {
            fs::create_symlink(part.link_target, part.place, error);
        }
        if (part.mount.valid() && !put_at(part.mount.get(), part.place)) {
            return failed("a part cannot be put at '" + part.place.string() + "'");
        }
    }
    mount_attr readonly{};
    readonly.attr_set = MOUNT_ATTR_RDONLY;
    if (mount_setattr(AT_FDCWD, kMounted, 0, &readonly, sizeof readonly) != 0) {
        return failed("the folder cannot be made read-only");
    }
    return "";
}

/// In the new process: what fails, or nothing.
std::string confine(const ShareConfig& share) {
    raise_limit_of_files();
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        return failed("its mount namespace cannot be made private");
    }
    std::vector<OpenedPart> parts;
    if (std::string why = open_parts(share, parts); !why.empty()) {
        return why;
    }
    // With parts that are all missing the folder is an empty one, never all of the host's.
    const bool is_whole = share.parts.empty();
    UniqueFd folder;
    if (is_whole) {
        folder = open_mount(share.path);
        if (!folder.valid()) {
            return failed("the folder cannot be mounted");
        }
        if (share.readonly && !make_readonly(folder.get())) {
            return failed("the folder cannot be mounted read-only");
        }
    }
    if (mount("tmpfs", kScratch, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0 ||
        mkdir(kMounted, 0755) != 0 || (is_whole && !put_at(folder.get(), kMounted))) {
        return failed(std::string{"the folder cannot be put at "} + kMounted);
    }
    return is_whole ? "" : place_parts(parts);
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
    const std::string tried = "cannot share the folder '" + share.path.string() + "'";
    if (share.parts.empty()) {
        const UniqueFd folder{open(share.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (!folder.valid()) {
            throw Error{ExitStatus::bad_file, tried, errno_text(errno), "give a folder that you may read"};
        }
    }
    const fs::path file = find_virtiofsd();
    std::vector<std::string> arguments{"--fd=3", "--rlimit-nofile=0"};
    const std::string mounted = kMounted;
    const auto more = is_in_rust(file)
                          ? std::vector<std::string>{"--shared-dir=" + mounted, "--log-level=error"}
                          : std::vector<std::string>{"-o", "source=" + mounted, "-o", "log_level=err"};
    arguments.insert(arguments.end(), more.begin(), more.end());

    auto [listener, connection] = make_connection();
    HelperProcess process{{.name = "virtiofsd",
                           .file = file,
                           .arguments = std::move(arguments),
                           .descriptors = {listener.get()},
                           .is_apart = true,
                           .group = group,
                           .prepare = [&] { return confine(share); }}};
    listener.reset();
    return {std::move(process),
            virtio::greet_vhost_user(std::move(connection), virtio::share_kind(share.tag),
                                     tried + " by '" + file.string() + "'", "see what it says above")};
}

}  // namespace hull
