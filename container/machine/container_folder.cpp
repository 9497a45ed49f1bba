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

/// A folder that its user alone may enter, and that is this user's. False where it was removed meanwhile.
bool make_private(const fs::path& path) {
    constexpr mode_t kMode = 0700;
    struct stat status {};
    const bool is_there = mkdir(path.c_str(), kMode) == 0 || errno == EEXIST;
    if (!is_there || lstat(path.c_str(), &status) != 0) {
        if (is_there && errno == ENOENT) {
            return false;
        }
        throw Error{ExitStatus::no_resources, "cannot make the folder '" + path.string() + "'",
                    errno_text(errno), "let XDG_RUNTIME_DIR name a folder that you may write to"};
    }
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        throw Error{ExitStatus::no_resources, "cannot use the folder '" + path.string() + "'",
                    "it is another user's, or others may enter it", "remove it"};
    }
    return true;
}

/// Locked; none where it is not there, or is somebody's and `how` has LOCK_NB.
UniqueFd lock_folder(const fs::path& path, int how) {
    UniqueFd fd{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    struct stat status {};
    if (!fd.valid() || flock(fd.get(), how) != 0 || fstat(fd.get(), &status) != 0 ||
        status.st_nlink == 0) {  // who had it has removed it meanwhile
        return UniqueFd{};
    }
    return fd;
}

/// Makes it where it is missing. As long as it is locked nobody else makes, sweeps or removes what is there.
UniqueFd lock_parent(const fs::path& parent) {
    constexpr int kTries = 1000;  // each as often as the last container of a row removes it
    for (int tries = 0; tries < kTries; ++tries) {
        if (make_private(parent)) {
            if (UniqueFd lock = lock_folder(parent, LOCK_EX); lock.valid()) {
                return lock;
            }
        }
    }
    throw Error{ExitStatus::no_resources, "cannot lock the folder '" + parent.string() + "'",
                "it is removed again and again", "let XDG_RUNTIME_DIR name another folder"};
}

/// Removes what those have left that were killed.
void sweep(const fs::path& parent) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator{parent, ignored}) {
        if (const UniqueFd lock = lock_folder(entry.path(), LOCK_EX | LOCK_NB); lock.valid()) {
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
    const UniqueFd lock = lock_parent(parent);
    sweep(parent);
    if (mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) {
        throw Error{ExitStatus::no_resources, "cannot make the folder '" + path_.string() + "'",
                    errno_text(errno), "let XDG_RUNTIME_DIR name a folder that has room"};
    }
    lock_ = lock_folder(path_, LOCK_EX | LOCK_NB);
    if (!lock_.valid()) {
        throw Error{ExitStatus::usage, "cannot make the container '" + name + "'",
                    "one of this name is running", "give another name (--name)"};
    }
}

ContainerFolder::~ContainerFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    if (const UniqueFd lock = lock_folder(path_.parent_path(), LOCK_EX); lock.valid()) {
        rmdir(path_.parent_path().c_str());  // where it was the last
    }
}

}  // namespace hull::container
