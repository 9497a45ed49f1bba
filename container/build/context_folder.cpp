#include "container/build/context_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "base/small_file.h"
#include "container/build/glob.h"

namespace hull::container {

namespace fs = std::filesystem;

namespace {

constexpr const char* kIgnoreFile = ".dockerignore";

[[noreturn]] void fail(const fs::path& path, int cause) {
    throw Error{ExitStatus::bad_file, "cannot read '" + printable(path.string()) + "' of the build context",
                errno_text(cause), "leave it out (.dockerignore), or check who may read it"};
}

size_t nothing(std::span<std::byte> /*room*/) {
    return 0;
}

class Folder {
  public:
    Folder(BuildContext& context, const fs::path& root, const std::string& dockerfile)
        : context_{context}, root_{root}, dockerfile_{dockerfile} {
        if (fs::exists(root_ / kIgnoreFile)) {
            ignored_ = ignore_lines(file_text(root_ / kIgnoreFile));
        }
        takes_back_ = std::ranges::any_of(ignored_, [](const auto& line) { return line.starts_with('!'); });
    }

    /// What is in a folder, whose path is from the root on.
    void take(const std::string& folder) {
        std::vector<std::string> names;
        std::error_code error;
        for (fs::directory_iterator each{root_ / folder, error}; !error && each != fs::directory_iterator{};
             each.increment(error)) {
            names.push_back(each->path().filename());
        }
        if (error) {
            fail(root_ / folder, error.value());
        }
        std::ranges::sort(names);
        for (const std::string& name : names) {
            take_one(joined_path(folder, name));
        }
    }

  private:
    void take_one(const std::string& path) {
        struct stat status {};
        if (lstat((root_ / path).c_str(), &status) != 0) {
            fail(root_ / path, errno);
        }
        const bool is_out = path != dockerfile_ && path != kIgnoreFile && is_ignored(path, ignored_);
        TarEntry entry{.path = path, .link = ""};
        constexpr mode_t kPermissions = 07777;
        entry.mode = status.st_mode & kPermissions;
        entry.mtime = status.st_mtim.tv_sec;
        entry.mtime_ns = static_cast<uint32_t>(status.st_mtim.tv_nsec);
        entry.major = major(status.st_rdev);
        entry.minor = minor(status.st_rdev);
        using Kind = TarEntry::Kind;
        switch (status.st_mode & S_IFMT) {
            case S_IFDIR:
                entry.kind = Kind::folder;
                if (!is_out) {
                    context_.put(entry, nothing);
                }
                // What is in a folder that is left out may be taken back, and the Dockerfile is.
                if (!is_out || takes_back_ || dockerfile_.starts_with(path + "/")) {
                    take(path);
                }
                return;
            case S_IFREG:
                return is_out ? void() : take_file(entry);
            case S_IFLNK:
                entry.kind = Kind::symbolic_link;
                entry.link = fs::read_symlink(root_ / path);
                break;
            case S_IFCHR:
                entry.kind = Kind::character_device;
                break;
            case S_IFBLK:
                entry.kind = Kind::block_device;
                break;
            case S_IFIFO:
                entry.kind = Kind::fifo;
                break;
            default:
                return;  // a socket, which no archive has
        }
        if (!is_out) {
            context_.put(entry, nothing);
        }
    }

    void take_file(const TarEntry& entry) {
        const fs::path path = root_ / entry.path;
        const UniqueFd file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
        if (!file.valid()) {
            fail(path, errno);
        }
        context_.put(entry, [&](std::span<std::byte> room) {
            const ssize_t got = read(file.get(), room.data(), room.size());
            if (got < 0) {
                fail(path, errno);
            }
            return static_cast<size_t>(got);
        });
    }

    BuildContext& context_;
    const fs::path& root_;
    const std::string& dockerfile_;
    std::vector<std::string> ignored_;
    bool takes_back_ = false;
};

}  // namespace

void take_folder(BuildContext& context, const fs::path& folder, const std::string& dockerfile) {
    Folder{context, folder, dockerfile}.take("");
}

}  // namespace hull::container
