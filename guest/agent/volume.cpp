#include "guest/agent/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hull::agent {

namespace {

constexpr size_t kMostPath = 4096;

/// In the volume's own folder, from before the first thing is copied until after the last. Whoever finds it
/// goes on where another was interrupted. In it each file is made, to have its name once it is whole.
constexpr const char* kUnfinished = ".hull-copy-up";

Failure failed(const char* what) {
    return {errno, what};
}

bool is_dot(const char* name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/// The place for a mount: what is there, or a folder or an empty file, as `source` is.
bool make_place(const char* path, const struct stat& source) {
    if (S_ISDIR(source.st_mode)) {
        return make_folders(path);
    }
    char above[kMostPath];
    const char* const name = strrchr(path, '/');
    const size_t length = name == nullptr ? 0 : static_cast<size_t>(name - path);
    if (length >= sizeof above) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(above, path, length);
    above[length] = '\0';
    struct stat there;
    if (stat(path, &there) == 0) {
        return true;
    }
    const int fd = length > 0 && !make_folders(above) ? -1 : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    close(fd);
    return fd >= 0;
}

/// Copies a tree into another, where whatever is there stays. Links are copied and not followed.
class TreeCopier {
  public:
    /// `made` is a folder of the other tree's in which files are made.
    explicit TreeCopier(int made) : made_{made} {}

    /// What is in the folder `from`, and the folder's owner, mode and times. Both are closed. False with
    /// errno.
    bool copy_folder(int from, int to, int depth) {
        struct stat status;
        DIR* const list = depth > kMostDepth || fstat(from, &status) != 0 ? nullptr : fdopendir(from);
        if (list == nullptr) {
            errno = depth > kMostDepth ? ELOOP : errno;
            close(from);
            close(to);
            return false;
        }
        bool good = true;
        errno = 0;
        for (dirent* entry = nullptr; good && (entry = readdir(list)) != nullptr;) {
            good = is_dot(entry->d_name) || copy_one(from, to, entry->d_name, depth);
            errno = good ? 0 : errno;
        }
        good = good && errno == 0 && give_owner(to, "", status) &&
               fchmod(to, status.st_mode & kModeBits) == 0 && give_times(to, status);
        const int error = errno;
        closedir(list);
        close(to);
        errno = error;
        return good;
    }

  private:
    static constexpr int kMostDepth = 128;  // each level keeps two descriptors open
    static constexpr mode_t kModeBits = 07777;

    bool copy_one(int from, int to, const char* name, int depth) {
        struct stat status;
        if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            return false;
        }
        switch (status.st_mode & S_IFMT) {
            case S_IFDIR:
                return copy_inner_folder(from, to, name, depth);
            case S_IFREG:
                return copy_file(from, to, name, status);
            case S_IFLNK:
                return copy_link(from, to, name, status);
            case S_IFSOCK:
                return true;  // which nobody listens at
            default:
                return done_or_there(
                    mknodat(to, name, status.st_mode & (S_IFMT | kModeBits), status.st_rdev) == 0 &&
                    fchmodat(to, name, status.st_mode & kModeBits, 0) == 0 && give_owner(to, name, status));
        }
    }

    bool copy_inner_folder(int from, int to, const char* name, int depth) {
        constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        if (mkdirat(to, name, 0700) != 0 && errno != EEXIST) {
            return false;
        }
        const int inner_from = openat(from, name, kFlags);
        const int inner_to = openat(to, name, kFlags);
        if (inner_from < 0 || inner_to < 0) {
            const int error = errno;
            close(inner_from);
            close(inner_to);
            errno = error;
            return error == ENOTDIR || error == ELOOP;  // another thing is there
        }
        return copy_folder(inner_from, inner_to, depth + 1);
    }

    bool copy_file(int from, int to, const char* name, const struct stat& status) {
        const int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        char made[32];
        snprintf(made, sizeof made, "%d-%lu", getpid(), ++count_);
        unlinkat(made_, made, 0);  // of one that was interrupted
        const int target = openat(made_, made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        constexpr size_t kPiece = size_t{1} << 20;
        ssize_t sent = source < 0 || target < 0 ? -1 : 1;
        while (sent > 0) {
            sent = sendfile(target, source, nullptr, kPiece);
        }
        bool good = sent == 0 && give_owner(target, "", status) &&
                    fchmod(target, status.st_mode & kModeBits) == 0 && give_times(target, status);
        good = good && done_or_there(linkat(made_, made, to, name, 0) == 0);
        const int error = errno;
        close(source);
        close(target);
        unlinkat(made_, made, 0);
        errno = error;
        return good;
    }

    static bool copy_link(int from, int to, const char* name, const struct stat& status) {
        char target[kMostPath];
        const ssize_t length = readlinkat(from, name, target, sizeof target - 1);
        if (length < 0) {
            return false;
        }
        target[length] = '\0';
        return done_or_there(symlinkat(target, to, name) == 0 && give_owner(to, name, status));
    }

    static bool done_or_there(bool is_done) { return is_done || errno == EEXIST; }

    /// Of the file itself where `name` is empty. Where the host's user is no root, there are no other owners.
    static bool give_owner(int file, const char* name, const struct stat& status) {
        return fchownat(file, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0 ||
               errno == EPERM || errno == EINVAL;
    }

    static bool give_times(int file, const struct stat& status) {
        const timespec times[] = {status.st_atim, status.st_mtim};
        return futimens(file, times) == 0;
    }

    int made_;
    unsigned long count_ = 0;
};

/// Whether nothing is in the folder, or what was copied there is not all of it.
bool is_to_be_filled(int folder) {
    struct stat status;
    if (fstatat(folder, kUnfinished, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return S_ISDIR(status.st_mode);
    }
    const int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* const list = again < 0 ? nullptr : fdopendir(again);
    if (list == nullptr) {
        close(again);
        return false;
    }
    bool is_empty = true;
    for (const dirent* entry = nullptr; is_empty && (entry = readdir(list)) != nullptr;) {
        is_empty = is_dot(entry->d_name);
    }
    closedir(list);
    return is_empty;
}

/// Both are closed.
Failure fill(int from, int to) {
    constexpr const char* kWhat = "to copy the image's content into a volume";
    if (!is_to_be_filled(to)) {
        close(from);
        close(to);
        return {};
    }
    const bool is_begun = mkdirat(to, kUnfinished, 0700) == 0 || errno == EEXIST;
    const int made = openat(to, kUnfinished, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const int volume = fcntl(to, F_DUPFD_CLOEXEC, 0);
    if (!is_begun || made < 0 || volume < 0) {
        const Failure result = failed(kWhat);
        const int all[] = {from, to, made, volume};
        for (const int fd : all) {
            close(fd);
        }
        return result;
    }
    Failure result = TreeCopier{made}.copy_folder(from, to, 0) ? Failure{} : failed(kWhat);
    if (result.error == 0) {
        // Where another fills it, too, that one takes it away.
        unlinkat(volume, kUnfinished, AT_REMOVEDIR);
    }
    close(made);
    close(volume);
    return result;
}

}  // namespace

Failure bind_into(const Request& asked) {
    char above[kMostPath];
    struct stat source;
    const char* const slash = strrchr(asked.source, '/');
    if (slash == nullptr || slash == asked.source || slash - asked.source >= ssize_t{kMostPath}) {
        return {EINVAL, "to find what to mount"};
    }
    memcpy(above, asked.source, static_cast<size_t>(slash - asked.source));
    above[slash - asked.source] = '\0';
    const int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    // The working folder stays outside of the root: there is the source, by its name alone, while every path
    // begins in the root and no link of an image leads out of that.
    if (outside < 0 || stat(asked.source, &source) != 0 || chdir(above) != 0 || chroot(asked.root) != 0) {
        const Failure result = failed("to find what to mount");
        [[maybe_unused]] const bool is_back = fchdir(outside) == 0;
        close(outside);
        return result;
    }
    Failure result;
    if (!make_place(asked.path, source)) {
        result = failed("to make a place to mount at");
    } else if (mount(slash + 1, asked.path, nullptr, MS_BIND | MS_REC, nullptr) != 0 ||
               mount(nullptr, asked.path, nullptr, MS_REMOUNT | MS_BIND | asked.flags, nullptr) != 0) {
        result = failed("to mount");
    }
    [[maybe_unused]] const bool is_back = fchdir(outside) == 0 && chroot(".") == 0;
    close(outside);
    return result;
}

Failure copy_up(const Request& asked) {
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    const int to = open(asked.source, kFlags | O_NOFOLLOW);
    const int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (to < 0 || outside < 0 || chdir(asked.root) != 0 || chroot(".") != 0) {
        const Failure result = failed("to find a volume");
        close(to);
        close(outside);
        return result;
    }
    const int from = open(asked.path, kFlags);
    [[maybe_unused]] const bool is_back = fchdir(outside) == 0 && chroot(".") == 0;
    close(outside);
    if (from < 0) {
        close(to);
        return {};  // the image has no such folder
    }
    return fill(from, to);
}

}  // namespace hull::agent
