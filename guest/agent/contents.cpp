#include "guest/agent/contents.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace hull::agent {

namespace {

constexpr int kMostDepth = 400;  // each level keeps two descriptors open at most, of 1024
constexpr const char* kOpaque = "trusted.overlay.opaque";

/// open_tree(2) of a mount as it is, without others in it; the C library's headers do not name it.
constexpr unsigned kCloneTree = 1;

/// The names in a folder, in the order of their bytes.
class Names {
  public:
    ~Names() {
        for (size_t index = 0; index < count_; ++index) {
            free(all_[index]);
        }
        free(all_);
    }
    bool read(int folder) {
        const int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR* const list = again < 0 ? nullptr : fdopendir(again);
        if (list == nullptr) {
            return false;
        }
        bool good = true;
        errno = 0;
        for (dirent* entry = nullptr; good && (entry = readdir(list)) != nullptr;) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                good = add(entry->d_name);
            }
        }
        const int error = errno;
        closedir(list);
        if (count_ > 0) {
            qsort(all_, count_, sizeof *all_, [](const void* one, const void* other) {
                return strcmp(*static_cast<char* const*>(one), *static_cast<char* const*>(other));
            });
        }
        errno = error;
        return good && error == 0;
    }
    [[nodiscard]] size_t count() const { return count_; }
    const char* operator[](size_t index) const { return all_[index]; }

  private:
    bool add(const char* name) {
        constexpr size_t kFirst = 16;
        if ((count_ & (count_ - 1)) == 0 && (count_ == 0 || count_ >= kFirst)) {
            const size_t room = count_ == 0 ? kFirst : 2 * count_;
            auto* const more = static_cast<char**>(realloc(all_, room * sizeof *all_));
            if (more == nullptr) {
                return false;
            }
            all_ = more;
        }
        all_[count_] = strdup(name);
        return all_[count_] != nullptr && ++count_ > 0;
    }
    char** all_ = nullptr;
    size_t count_ = 0;
};

/// A file with several names, and the first of them that was sent.
struct Linked {
    dev_t device;
    ino_t inode;
    char* path;
};

int compare_linked(const void* one, const void* other) {
    const auto& left = *static_cast<const Linked*>(one);
    const auto& right = *static_cast<const Linked*>(other);
    if (left.device != right.device) {
        return left.device < right.device ? -1 : 1;
    }
    return left.inode == right.inode ? 0 : left.inode < right.inode ? -1 : 1;
}

bool is_whiteout(const struct stat& status) {
    return S_ISCHR(status.st_mode) && status.st_rdev == 0;
}

bool is_sent(const char* attribute) {
    return strcmp(attribute, "security.capability") == 0 || strncmp(attribute, "user.", 5) == 0 ||
           strcmp(attribute, kOpaque) == 0;
}

/// What a link leads to in the end, as far as that is there.
void resolve(const char* link, const char* target, char (&resolved)[PATH_MAX]) {
    if (realpath(link, resolved) != nullptr) {
        return;
    }
    const char* const slash = strrchr(link, '/');
    const int length = target[0] == '/' || slash == nullptr ? 0 : static_cast<int>(slash - link);
    if (snprintf(resolved, sizeof resolved, "%.*s%s%s", length, link, target[0] == '/' ? "" : "/", target) >=
        PATH_MAX) {
        resolved[0] = '\0';
    }
}

class Sender {
  public:
    Sender(int stream, uint64_t flags) : stream_{stream}, flags_{flags} {}

    Failure look(const char* path) {
        struct stat status {};
        return lstat(path, &status) == 0 && send_top(path, status) ? Failure{} : failure("to look at");
    }

    Failure pack(const char* path) {
        struct stat status {};
        if (lstat(path, &status) != 0) {
            return failure("to look at");
        }
        if (S_ISDIR(status.st_mode)) {
            const int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            return folder >= 0 && send_top(path, status, folder) && pack_folder(folder, 0, 0) &&
                           close(folder) == 0
                       ? Failure{}
                       : failure("to read");
        }
        if (!S_ISREG(status.st_mode)) {
            return send_top(path, status) ? Failure{} : failure("to read");
        }
        const int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        return file >= 0 && fstat(file, &status) == 0 && send_top(path, status, file) &&
                       send_content(file, status)
                   ? Failure{}
                   : failure("to read");
    }

    Failure compare(const char* upper, const char* base) {
        const int one = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const int other = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return one >= 0 && other >= 0 && compare_folder(one, other, 0, 0) ? Failure{} : failure("to compare");
    }

    [[nodiscard]] const char* path() const { return path_; }

  private:
    static Failure failure(const char* what) { return {errno, what}; }

    /// The length of path_ with this name at its end; 0 with errno where it is too long.
    size_t enter(size_t length, const char* name) {
        const int printed =
            snprintf(path_ + length, kMostPath - length, "%s%s", length == 0 ? "" : "/", name);
        if (printed < 0 || static_cast<size_t>(printed) >= kMostPath - length) {
            errno = ENAMETOOLONG;
            return 0;
        }
        return length + static_cast<size_t>(printed);
    }

    bool send(const FrameWriter& frame) {
        if (frame.size() == 0) {
            errno = E2BIG;
            return false;
        }
        return send_whole(stream_, frame_, frame.size());
    }

    /// Of the path that was asked for.
    bool send_top(const char* path, const struct stat& status, int file = -1) {
        char target[PATH_MAX] = "";
        char resolved[PATH_MAX] = "";
        if (S_ISLNK(status.st_mode)) {
            if (readlink(path, target, sizeof target - 1) < 0) {
                return false;
            }
            resolve(path, target, resolved);
        }
        FrameWriter frame = begin(status);
        add_attributes(frame, file);
        if (target[0] != '\0') {
            frame.add_text(kTarget, target);
            frame.add_text(kResolved, resolved[0] == '\0' ? target : resolved);
        }
        return send(frame);
    }

    FrameWriter begin(const struct stat& status) {
        FrameWriter frame{frame_, sizeof frame_, kEntry, 0};
        frame.add_text(kPath, path_);
        frame.add_number(kMode, status.st_mode);
        frame.add_number(kOwner, status.st_uid);
        frame.add_number(kOwnersGroup, status.st_gid);
        frame.add_number(kSeconds, static_cast<uint64_t>(status.st_mtim.tv_sec));
        frame.add_number(kNanoseconds, static_cast<uint64_t>(status.st_mtim.tv_nsec));
        frame.add_number(kSize, static_cast<uint64_t>(status.st_size));
        if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
            frame.add_number(kDevice, status.st_rdev);
        }
        return frame;
    }

    /// Of a file or folder that is open; those that find no room, and those of others, are left out.
    void add_attributes(FrameWriter& frame, int file) {
        char names[4096];
        const ssize_t size = file < 0 ? 0 : flistxattr(file, names, sizeof names - 1);
        names[size < 0 ? 0 : size] = '\0';
        for (const char* name = names; name < names + size; name += strlen(name) + 1) {
            char both[4096];
            const size_t length = strlen(name) + 1;
            if (!is_sent(name) || length >= sizeof both) {
                continue;
            }
            memcpy(both, name, length);
            const ssize_t got = fgetxattr(file, name, both + length, sizeof both - length);
            if (got >= 0) {
                frame.add_bytes(kAttribute, both, length + static_cast<size_t>(got));
            }
        }
    }

    bool pack_folder(int folder, size_t length, int depth) {
        Names names;
        if (depth > kMostDepth || !names.read(folder)) {
            errno = depth > kMostDepth ? ELOOP : errno;
            return false;
        }
        for (size_t index = 0; index < names.count(); ++index) {
            if (!pack_one(folder, names[index], length, depth)) {
                return false;
            }
        }
        return true;
    }

    bool pack_one(int folder, const char* name, size_t length, int depth) {
        const size_t whole = enter(length, name);
        struct stat status {};
        if (whole == 0) {
            return false;
        }
        if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            return errno == ENOENT;  // gone meanwhile
        }
        if (S_ISSOCK(status.st_mode)) {
            return true;
        }
        FrameWriter frame = begin(status);
        if (const char* first = first_name_of(status, length)) {
            frame.add_text(kHardLink, first);
            return send(frame);
        }
        if (S_ISLNK(status.st_mode)) {
            char target[PATH_MAX];
            const ssize_t size = readlinkat(folder, name, target, sizeof target - 1);
            target[size < 0 ? 0 : size] = '\0';
            frame.add_text(kTarget, target);
            return size > 0 ? send(frame) : errno == ENOENT;
        }
        if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
            return send(frame);
        }
        const int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (file < 0) {
            return errno == ENOENT || errno == ELOOP;  // or another meanwhile
        }
        const mode_t kind = status.st_mode & S_IFMT;
        bool good = fstat(file, &status) == 0;
        if (good && (status.st_mode & S_IFMT) == kind) {
            FrameWriter opened = begin(status);
            add_attributes(opened, file);
            good = send(opened) &&
                   (kind == S_IFDIR ? pack_folder(file, whole, depth + 1) : send_content(file, status));
        }
        const int error = errno;
        close(file);
        errno = error;
        return good;
    }

    /// Where a file has another name that was sent, that; null where there is none.
    const char* first_name_of(const struct stat& status, size_t length) {
        if (S_ISDIR(status.st_mode) || status.st_nlink < 2) {
            return nullptr;
        }
        Linked wanted{status.st_dev, status.st_ino, path_};
        if (void* const found = tfind(&wanted, &linked_, compare_linked)) {
            const char* const first = (*static_cast<Linked**>(found))->path;
            const bool is_beside = strncmp(first, path_, length) == 0 &&
                                   strchr(first + length + (length == 0 ? 0 : 1), '/') == nullptr &&
                                   (length == 0 || first[length] == '/');
            return is_beside || (flags_ & kAllLinks) != 0 ? first : nullptr;
        }
        auto* const made = static_cast<Linked*>(malloc(sizeof(Linked)));
        if (made != nullptr) {
            *made = {status.st_dev, status.st_ino, strdup(path_)};
        }
        if (made == nullptr || made->path == nullptr || tsearch(made, &linked_, compare_linked) == nullptr) {
            free(made);  // it is sent as a file of its own
        }
        return nullptr;
    }

    /// As much as was said, whatever happens to the file meanwhile.
    bool send_content(int file, const struct stat& status) {
        for (auto left = static_cast<uint64_t>(status.st_size); left > 0;) {
            const size_t most = left < kMostReport ? static_cast<size_t>(left) : kMostReport;
            const ssize_t got = read(file, frame_ + kHeaderSize, most);
            if (got < 0) {
                return false;
            }
            if (got == 0) {
                memset(frame_ + kHeaderSize, 0, most);
            }
            const size_t size = got == 0 ? most : static_cast<size_t>(got);
            store_word(frame_, kData);
            store_word(frame_ + 4, 0);
            store_word(frame_ + 8, static_cast<uint32_t>(size));
            if (!send_whole(stream_, frame_, kHeaderSize + size)) {
                return false;
            }
            left -= size;
        }
        return true;
    }

    bool send_change(const struct stat& status, Change change) {
        FrameWriter frame = begin(status);
        frame.add_number(kChange, change);
        return send(frame);
    }

    /// `base` is -1 where nothing was.
    bool compare_folder(int upper, int base, size_t length, int depth) {
        Names names;
        if (depth > kMostDepth || !names.read(upper)) {
            errno = depth > kMostDepth ? ELOOP : errno;
            return false;
        }
        for (size_t index = 0; index < names.count(); ++index) {
            if (!compare_one(upper, base, names[index], length, depth)) {
                return false;
            }
        }
        char value = 0;
        if (base < 0 || fgetxattr(upper, kOpaque, &value, 1) != 1 || value != 'y') {
            return true;
        }
        Names hidden;
        if (!hidden.read(base)) {
            return false;
        }
        for (size_t index = 0; index < hidden.count(); ++index) {
            struct stat status {};
            if (fstatat(upper, hidden[index], &status, AT_SYMLINK_NOFOLLOW) == 0 ||
                fstatat(base, hidden[index], &status, AT_SYMLINK_NOFOLLOW) != 0) {
                continue;
            }
            if (enter(length, hidden[index]) == 0 || !send_change(status, kDeleted)) {
                return false;
            }
        }
        return true;
    }

    bool compare_one(int upper, int base, const char* name, size_t length, int depth) {
        const size_t whole = enter(length, name);
        struct stat now {};
        struct stat before {};
        if (whole == 0) {
            return false;
        }
        if (fstatat(upper, name, &now, AT_SYMLINK_NOFOLLOW) != 0) {
            return errno == ENOENT;
        }
        const bool was_there = base >= 0 && fstatat(base, name, &before, AT_SYMLINK_NOFOLLOW) == 0;
        if (is_whiteout(now)) {
            return !was_there || send_change(now, kDeleted);
        }
        const bool is_folder = S_ISDIR(now.st_mode);
        const bool was_folder = was_there && S_ISDIR(before.st_mode);
        // A folder is there for what is in it, too.
        const bool is_same = is_folder && was_folder && now.st_mode == before.st_mode &&
                             now.st_uid == before.st_uid && now.st_gid == before.st_gid &&
                             now.st_mtim.tv_sec == before.st_mtim.tv_sec &&
                             now.st_mtim.tv_nsec == before.st_mtim.tv_nsec;
        if (!is_same && !send_change(now, was_there ? kModified : kAdded)) {
            return false;
        }
        if (!is_folder) {
            return true;
        }
        const int one = openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        const int other =
            was_folder ? openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        const bool good = one < 0 ? errno == ENOENT : compare_folder(one, other, whole, depth + 1);
        const int error = errno;
        close(one);
        close(other);
        errno = error;
        return good;
    }

    int stream_;
    uint64_t flags_;
    void* linked_ = nullptr;  // a tree of tsearch(3)
    char path_[kMostPath] = "";
    uint8_t frame_[kHeaderSize + kMostReport];
};

bool enter_root(const Request& request) {
    int root = -1;
    if (request.has_flag(kBare)) {
        root = static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, request.root, kCloneTree | O_CLOEXEC));
    } else {
        root = open(request.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    const bool entered = root >= 0 && fchdir(root) == 0 && chroot(".") == 0;
    close(root);
    return entered;
}

Failure serve(uint32_t type, const Request& request, int stream, char* path) {
    static Sender sender{-1, 0};  // too large for a stack
    sender = Sender{stream, request.flags};
    if (request.root != nullptr && !enter_root(request)) {
        return {errno, "to enter a root folder"};
    }
    Failure failure;
    switch (type) {
        case kLook:
            failure = sender.look(request.path);
            break;
        case kPack:
            failure = sender.pack(request.path);
            break;
        case kCompare:
            failure = sender.compare(request.path, request.source);
            break;
        default:
            if (chdir(request.path) != 0) {
                return {errno, "to enter a folder"};
            }
            return unpack_contents(stream, request.flags, request.user, path);
    }
    snprintf(path, kMostPath, "%s", sender.path());
    return failure;
}

}  // namespace

bool send_whole(int stream, const uint8_t* bytes, size_t size) {
    while (size > 0) {
        const ssize_t sent = ::send(stream, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        bytes += sent < 0 ? 0 : sent;
        size -= sent < 0 ? 0 : static_cast<size_t>(sent);
    }
    return true;
}

void serve_contents(uint32_t type, const Request& request, int stream) {
    static char path[kMostPath];
    const Failure failure = serve(type, request, stream, path);
    static uint8_t room[kHeaderSize + 2 * kMostPath];
    FrameWriter last{room, sizeof room, failure.error == 0 ? kEnd : kFailed, 0};
    if (failure.error != 0) {
        last.add_number(kError, static_cast<uint64_t>(failure.error));
        last.add_text(kText, failure.what);
        last.add_text(kPath, path);
    }
    send_whole(stream, room, last.size());
}

}  // namespace hull::agent
