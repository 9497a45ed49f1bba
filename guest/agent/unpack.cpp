// Of the contents that the host sends (contents.h).
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "guest/agent/contents.h"
#include "guest/agent/user.h"

namespace hull::agent {

namespace {

constexpr Failure kDone{};

Failure failed(const char* what) {
    return {errno, what};
}

/// What a kEntry frame says. The texts and bytes lie in it.
struct Entry {
    static constexpr size_t kMostAttributes = 64;
    const char* path = nullptr;
    const char* target = nullptr;
    const char* hard_link = nullptr;
    uint64_t mode = 0;
    uint64_t owner = 0;
    uint64_t group = 0;
    uint64_t seconds = 0;
    uint64_t nanoseconds = 0;
    uint64_t size = 0;
    uint64_t device = 0;
    Field attributes[kMostAttributes];
    size_t attribute_count = 0;

    bool take(const Field& field) {
        constexpr uint64_t kNanosecondsASecond = 1'000'000'000;
        switch (field.tag) {
            case kPath:
                return (path = field.text()) != nullptr && path[0] != '\0' && path[0] != '/';
            case kTarget:
                return (target = field.text()) != nullptr;
            case kHardLink:
                return (hard_link = field.text()) != nullptr && hard_link[0] != '/';
            case kMode:
                return field.number(mode) && mode <= (07777 | S_IFMT);
            case kOwner:
                return field.number(owner) && owner <= UINT32_MAX;
            case kOwnersGroup:
                return field.number(group) && group <= UINT32_MAX;
            case kSeconds:
                return field.number(seconds);
            case kNanoseconds:
                return field.number(nanoseconds) && nanoseconds < kNanosecondsASecond;
            case kSize:
                return field.number(size);
            case kDevice:
                return field.number(device);
            case kAttribute:
                if (attribute_count == kMostAttributes || memchr(field.bytes, 0, field.size) == nullptr) {
                    return false;
                }
                attributes[attribute_count++] = field;
                return true;
            default:
                return false;
        }
    }
    bool parse(const Frame& frame) {
        FieldReader fields{frame};
        for (Field field; fields.next(field);) {
            if (!take(field)) {
                return false;
            }
        }
        return !fields.is_bad() && path != nullptr && (!S_ISLNK(mode) || target != nullptr);
    }
};

/// A folder whose time is set when all is in it.
struct Folder {
    Folder* next;
    timespec time;
    char path[];
};

int remove_one(const char* path, const struct stat* /*status*/, int /*kind*/, FTW* /*place*/) {
    return remove(path);
}

class Unpacker {
  public:
    Unpacker(uint64_t flags, const char* user, char* path) : flags_{flags}, user_{user}, path_{path} {}

    Failure run(int stream) {
        static uint8_t room[kHeaderSize + kMostRequest];
        if ((flags_ & kUsersFiles) != 0 && user_ != nullptr) {
            if (const char* what = find_user(user_, "/etc/passwd", "/etc/group", owner_)) {
                return failed(what);
            }
        }
        FrameReader reader{room, sizeof room};
        for (;;) {
            Frame frame;
            if (!reader.next(frame)) {
                const ssize_t got =
                    reader.is_bad() ? 0 : recv(stream, reader.space(), reader.space_size(), 0);
                if (got <= 0) {
                    return {got < 0 ? errno : EBADMSG, "to read what the host sends"};
                }
                reader.add(static_cast<size_t>(got));
                continue;
            }
            if (frame.type == kEnd) {
                return finish();
            }
            if (const Failure failure = take(frame); failure.error != 0) {
                return failure;
            }
        }
    }

  private:
    Failure take(const Frame& frame) {
        if (frame.type == kData) {
            return take_data(frame);
        }
        // It is looked at again behind the content.
        memcpy(kept_, frame.payload, frame.size);
        entry_ = Entry{};
        if (left_ > 0 || frame.type != kEntry || !entry_.parse({frame.type, 0, kept_, frame.size})) {
            return {EBADMSG, "to read what the host sends"};
        }
        if (snprintf(path_, kMostPath, "%s", entry_.path) >= static_cast<int>(kMostPath)) {
            return {ENAMETOOLONG, "to make"};
        }
        const Failure failure = make(entry_);
        left_ = failure.error == 0 && file_ >= 0 ? entry_.size : 0;
        return failure.error == 0 && file_ >= 0 && left_ == 0 ? close_file() : failure;
    }

    Failure take_data(const Frame& frame) {
        if (frame.size > left_) {
            return {EBADMSG, "to read what the host sends"};
        }
        left_ -= frame.size;
        for (uint32_t done = 0; done < frame.size;) {
            const ssize_t written = write(file_, frame.payload + done, frame.size - done);
            if (written < 0) {
                return failed("to write");
            }
            done += static_cast<uint32_t>(written);
        }
        return left_ == 0 ? close_file() : kDone;
    }

    /// Gives the file what writing to it would take away again.
    Failure close_file() {
        const bool closed = close(file_) == 0;
        file_ = -1;
        return closed && set_status(entry_) ? kDone : failed("to write");
    }

    /// Takes away what is in the way, or says that it must not be.
    Failure clear(const Entry& entry) {
        struct stat there {};
        if (lstat(entry.path, &there) != 0) {
            if (errno != ENOENT) {
                return failed("to look at");
            }
            return make_parents(entry.path) ? kDone : failed("to make the folder of");
        }
        const bool is_folder = S_ISDIR(entry.mode);
        const bool was_folder = S_ISDIR(there.st_mode);
        if ((flags_ & kKeepKind) != 0 && is_folder != was_folder) {
            return {was_folder ? EISDIR : ENOTDIR, "to take the place of"};
        }
        if (is_folder && was_folder) {
            return kDone;
        }
        constexpr int kMostOpen = 64;
        if (was_folder) {
            return nftw(entry.path, remove_one, kMostOpen, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0
                       ? kDone
                       : failed("to take the place of");
        }
        return unlink(entry.path) == 0 ? kDone : failed("to take the place of");
    }

    static bool make_parents(const char* path) {
        const char* const slash = strrchr(path, '/');
        if (slash == nullptr) {
            return true;
        }
        char parents[kMostPath];
        snprintf(parents, sizeof parents, "%.*s", static_cast<int>(slash - path), path);
        return make_folders(parents);
    }

    Failure make(const Entry& entry) {
        if (const Failure failure = clear(entry); failure.error != 0) {
            return failure;
        }
        time_ = {static_cast<time_t>(entry.seconds), static_cast<long>(entry.nanoseconds)};
        const auto mode = static_cast<mode_t>(entry.mode);
        if (entry.hard_link != nullptr) {
            return link(entry.hard_link, entry.path) == 0 ? kDone : failed("to make");
        }
        bool made = false;
        switch (mode & S_IFMT) {
            case S_IFREG:
                file_ = open(entry.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
                made = file_ >= 0;
                break;
            case S_IFDIR:
                made = mkdir(entry.path, mode & 07777) == 0 || errno == EEXIST;
                break;
            case S_IFLNK:
                made = symlink(entry.target, entry.path) == 0;
                break;
            default:
                made = mknod(entry.path, mode, static_cast<dev_t>(entry.device)) == 0;
                break;
        }
        return made && (S_ISREG(mode) || set_status(entry)) ? kDone : failed("to make");
    }

    bool set_status(const Entry& entry) {
        const bool is_users = (flags_ & kUsersFiles) != 0;
        const auto owner = is_users ? owner_.id : static_cast<uid_t>(entry.owner);
        const auto group = is_users ? owner_.group : static_cast<gid_t>(entry.group);
        if (lchown(entry.path, owner, group) != 0) {
            return false;
        }
        for (size_t index = 0; index < entry.attribute_count; ++index) {
            const Field& field = entry.attributes[index];
            const auto* const name = reinterpret_cast<const char*>(field.bytes);
            const size_t length = strlen(name) + 1;
            // Not every file system has every kind.
            if (lsetxattr(entry.path, name, field.bytes + length, field.size - length, 0) != 0 &&
                errno != ENOTSUP && errno != EPERM) {
                return false;
            }
        }
        if (S_ISLNK(entry.mode)) {
            return set_time(entry.path, time_);
        }
        // After chown(2), which takes bits away.
        if (chmod(entry.path, static_cast<mode_t>(entry.mode) & 07777) != 0) {
            return false;
        }
        return S_ISDIR(entry.mode) ? remember(entry.path) : set_time(entry.path, time_);
    }

    static bool set_time(const char* path, const timespec& time) {
        const timespec times[] = {time, time};
        return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0;
    }

    bool remember(const char* path) {
        const size_t size = strlen(path) + 1;
        auto* const folder = static_cast<Folder*>(malloc(sizeof(Folder) + size));
        if (folder == nullptr) {
            return false;
        }
        folder->next = folders_;
        folder->time = time_;
        memcpy(folder->path, path, size);
        folders_ = folder;
        return true;
    }

    Failure finish() {
        if (left_ > 0) {
            return {EBADMSG, "to read what the host sends"};
        }
        for (const Folder* folder = folders_; folder != nullptr; folder = folder->next) {
            set_time(folder->path, folder->time);  // one that another entry has replaced since is left
        }
        if ((flags_ & kToTheDisk) != 0) {
            const int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (here < 0 || syncfs(here) != 0) {
                return failed("to write");
            }
        }
        return kDone;
    }

    uint64_t flags_;
    const char* user_;
    char* path_;
    User owner_;
    uint8_t kept_[kMostRequest];
    Entry entry_;  // in that
    int file_ = -1;
    uint64_t left_ = 0;  // of the file's content
    timespec time_{};
    Folder* folders_ = nullptr;  // the last first
};

}  // namespace

Failure unpack_contents(int stream, uint64_t flags, const char* user, char* path) {
    static Unpacker unpacker{0, nullptr, nullptr};  // too large for a stack
    unpacker = Unpacker{flags, user, path};
    return unpacker.run(stream);
}

}  // namespace hull::agent
