#include "vmm/main/view.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/unique_fd.h"
#include "vmm/main/mounts.h"

namespace hull {

namespace fs = std::filesystem;

namespace {

/// A part that has been looked at, before other things are mounted over where it is.
struct OpenedPart {
    fs::path place;
    UniqueFd mount;  // none for a symbolic link
    bool is_folder = false;
    fs::path link_target;
};

/// What fails, or nothing.
std::string open_parts(const std::vector<ViewConfig::Part>& parts, std::vector<OpenedPart>& opened) {
    for (const ViewConfig::Part& part : parts) {
        const auto cannot = [&] { return failed("'" + part.source.string() + "' cannot be mounted"); };
        OpenedPart found{.place = fs::path{kViewPlace} / part.place, .mount = {}, .link_target = {}};
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

/// Fills a folder of its own at kViewPlace, which nobody can write into. What fails, or nothing.
std::string place_parts(const std::vector<OpenedPart>& parts) {
    if (mount("tmpfs", kViewPlace, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0) {
        return failed(std::string{"a folder for its parts cannot be made at "} + kViewPlace);
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
    if (mount_setattr(AT_FDCWD, kViewPlace, 0, &readonly, sizeof readonly) != 0) {
        return failed("the folder cannot be made read-only");
    }
    return "";
}

}  // namespace

std::string show(const std::vector<ViewConfig::Part>& parts) {
    if (!make_mounts_private()) {
        return failed("its mount namespace cannot be made private");
    }
    std::vector<OpenedPart> opened;
    if (std::string why = open_parts(parts, opened); !why.empty()) {
        return why;
    }
    return place_parts(opened);
}

}  // namespace hull
