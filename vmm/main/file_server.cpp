#include "vmm/main/file_server.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "vmm/main/mounts.h"

namespace hull {

namespace fs = std::filesystem;

namespace {

/// Where the folder is made, in the server's namespace alone: over one that every host has.
constexpr const char* kPlace = "/run";

std::string failed(const std::string& what) {
    return what + ": " + errno_text(errno);
}

/// A part that has been looked at, before other things are mounted over where it is.
struct OpenedPart {
    fs::path place;
    UniqueFd mount;  // none for a symbolic link
    bool is_folder = false;
    fs::path link_target;
};

/// What fails, or nothing.
std::string open_parts(const ViewConfig& view, std::vector<OpenedPart>& opened) {
    for (const ViewConfig::Part& part : view.parts) {
        const auto cannot = [&] { return failed("'" + part.source.string() + "' cannot be mounted"); };
        OpenedPart found{.place = fs::path{kPlace} / part.place, .mount = {}, .link_target = {}};
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
            found.mount = open_mount(part.source, true);
            if (!found.mount.valid()) {
                return cannot();
            }
        }
        opened.push_back(std::move(found));
    }
    return "";
}

/// Fills a folder of its own at kPlace, which nobody can write into. What fails, or nothing.
std::string place_parts(const std::vector<OpenedPart>& parts) {
    if (mount("tmpfs", kPlace, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0) {
        return failed(std::string{"a folder for its parts cannot be made at "} + kPlace);
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
        if (part.mount.valid() && !put_mount(part.mount.get(), part.place)) {
            return failed("a part cannot be put at '" + part.place.string() + "'");
        }
    }
    mount_attr readonly{};
    readonly.attr_set = MOUNT_ATTR_RDONLY;
    if (mount_setattr(AT_FDCWD, kPlace, 0, &readonly, sizeof readonly) != 0) {
        return failed("the folder cannot be made read-only");
    }
    return "";
}

/// In the new process: what fails, or nothing.
std::string confine(const ViewConfig& view) {
    if (!make_mounts_private()) {
        return failed("its mount namespace cannot be made private");
    }
    std::vector<OpenedPart> parts;
    if (std::string why = open_parts(view, parts); !why.empty()) {
        return why;
    }
    return place_parts(parts);
}

}  // namespace

FileServerProcess start_file_server(const ViewConfig& view, const jail::Cgroup* group) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a socket pair", errno_text(errno)};
    }
    UniqueFd link{ends[0]};
    const UniqueFd far_end{ends[1]};
    return {.process = HelperProcess{{.name = "hull-file-server",
                                      .file = own_file("hull-file-server"),
                                      .arguments = {kPlace},
                                      .descriptors = {far_end.get()},
                                      .is_apart = true,
                                      .group = group,
                                      .prepare = [&] { return confine(view); }}},
            .link = std::move(link)};
}

}  // namespace hull
