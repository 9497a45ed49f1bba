#include "guest/agent/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/agent/protocol.h"

namespace hull::agent {

namespace {

constexpr size_t kMostPath = 4096;
constexpr int kMostDepth = 128;  // each level keeps a descriptor open

bool send_all(int fd, const uint8_t* bytes, size_t size) {
    while (size > 0) {
        const ssize_t sent = write(fd, bytes, size);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        bytes += sent < 0 ? 0 : sent;
        size -= sent < 0 ? 0 : static_cast<size_t>(sent);
    }
    return true;
}

class TreeSender {
  public:
    explicit TreeSender(int stream) : stream_{stream} {}

    /// `folder` is closed. `length` of path_ is the folder's own, as the host knows it.
    bool send_folder(int folder, size_t length, int depth) {
        DIR* list = depth > kMostDepth ? nullptr : fdopendir(folder);
        if (list == nullptr) {
            close(folder);
            return false;
        }
        bool good = true;
        errno = 0;
        for (dirent* entry = nullptr; good && (entry = readdir(list)) != nullptr;) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                good = send_one(folder, entry->d_name, length, depth);
            }
            errno = 0;
        }
        good = good && errno == 0;
        closedir(list);
        return good;
    }

    bool send_end() {
        const FrameWriter frame{frame_, sizeof frame_, kEnd, 0};
        return send_all(stream_, frame_, frame.size());
    }

  private:
    bool send_one(int folder, const char* name, size_t length, int depth) {
        const int printed =
            snprintf(path_ + length, kMostPath - length, "%s%s", length == 0 ? "" : "/", name);
        if (printed < 0 || static_cast<size_t>(printed) >= kMostPath - length) {
            return false;
        }
        const size_t whole = length + static_cast<size_t>(printed);
        struct stat status {};
        if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            return errno == ENOENT;  // gone meanwhile
        }
        if (S_ISLNK(status.st_mode)) {
            char target[kMostPath];
            const ssize_t size = readlinkat(folder, name, target, sizeof target - 1);
            target[size < 0 ? 0 : size] = '\0';
            return size > 0 && send_entry(status, target);
        }
        if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
            return true;
        }
        const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 || !send_entry(status, nullptr)) {
            close(fd);
            return false;
        }
        if (S_ISDIR(status.st_mode)) {
            return send_folder(fd, whole, depth + 1);
        }
        const bool sent = send_content(fd);
        close(fd);
        return sent;
    }

    bool send_entry(const struct stat& status, const char* target) {
        FrameWriter frame{frame_, sizeof frame_, kEntry, 0};
        frame.add_text(kPath, path_);
        frame.add_number(kMode, status.st_mode);
        if (target != nullptr) {
            frame.add_text(kTarget, target);
        }
        return send_all(stream_, frame_, frame.size());
    }

    bool send_content(int fd) {
        for (;;) {
            const ssize_t got = read(fd, frame_ + kHeaderSize, kMostReport);
            if (got <= 0) {
                return got == 0;
            }
            store_word(frame_, kData);
            store_word(frame_ + 4, 0);
            store_word(frame_ + 8, static_cast<uint32_t>(got));
            if (!send_all(stream_, frame_, kHeaderSize + static_cast<size_t>(got))) {
                return false;
            }
        }
    }

    int stream_;
    char path_[kMostPath];
    uint8_t frame_[kHeaderSize + kMostReport];
};

}  // namespace

bool send_tree(int stream, const char* path) {
    static TreeSender sender{-1};  // too large for a stack
    sender = TreeSender{stream};
    const int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return folder >= 0 && sender.send_folder(folder, 0, 0) && sender.send_end();
}

}  // namespace hull::agent
