#include "container/machine/container_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "base/error.h"

namespace hull::container {

namespace fs = std::filesystem;

namespace {

/// A folder that its user alone may enter, and that is this user's.
void make_private(const fs::path& path) {
    constexpr mode_t kMode = 0700;
    struct stat status {};
    if ((mkdir(path.c_str(), kMode) != 0 && errno != EEXIST) || lstat(path.c_str(), &status) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make the folder '" + path.string() + "'",
                    errno_text(errno), "let XDG_RUNTIME_DIR name a folder that you may write to"};
    }
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        throw Error{ExitStatus::no_resources, "cannot use the folder '" + path.string() + "'",
                    "it is another user's, or others may enter it", "remove it"};
    }
}

/// None where it is somebody's, or is not there.
UniqueFd lock_folder(const fs::path& path) {
    UniqueFd fd{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    struct stat status {};
    if (!fd.valid() || flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || fstat(fd.get(), &status) != 0 ||
        status.st_nlink == 0) {  // who had it has removed it meanwhile
        return UniqueFd{};
    }
    return fd;
}

/// Removes what those have left that were killed.
void sweep(const fs::path& parent) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator{parent, ignored}) {
        if (const UniqueFd lock = lock_folder(entry.path()); lock.valid()) {
            fs::remove_all(entry.path(), ignored);
        }
    }
}

}  // namespace

fs::path runtime_folder() {
    const char* own = std::getenv("XDG_RUNTIME_DIR");
    if (own != nullptr && *own == '/') {
        return fs::path{own} / "hull";
    }
    return geteuid() == 0 ? fs::path{"/run/hull"} : fs::path{"/tmp/hull-" + std::to_string(geteuid())};
}

ContainerFolder::ContainerFolder(const fs::path& parent, const std::string& name) : path_{parent / name} {
    make_private(parent);
    sweep(parent);
    // Others sweep, too, and remove the parent where it is empty: what was made may be gone again.
    constexpr int kTries = 100;
    bool is_somebodys = false;
    for (int tries = 0; tries < kTries && !lock_.valid() && !is_somebodys; ++tries) {
        make_private(parent);
        const bool is_new = mkdir(path_.c_str(), 0700) == 0;
        if (!is_new && errno != EEXIST && errno != ENOENT) {
            throw Error{ExitStatus::no_resources, "cannot make the folder '" + path_.string() + "'",
                        errno_text(errno), "let XDG_RUNTIME_DIR name a folder that has room"};
        }
        lock_ = lock_folder(path_);
        is_somebodys = !lock_.valid() && !is_new && fs::exists(path_);
    }
    if (!lock_.valid()) {
        throw Error{ExitStatus::usage, "cannot make the container '" + name + "'",
                    "one of this name is running", "give another name (--name)"};
    }
}

ContainerFolder::~ContainerFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    rmdir(path_.parent_path().c_str());  // where it was the last
}

}  // namespace hull::container
