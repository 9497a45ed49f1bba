#include "container/life/file_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "vmm/main/helper_process.h"
#include "vmm/main/subordinate_ids.h"

namespace hull::container {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kBlock = 512;  // of st_blocks

uint64_t size_of(const struct stat& status) {
    return static_cast<uint64_t>(status.st_blocks) * kBlock;
}

UniqueFd open_folder(int at, const char* name) {
    return UniqueFd{openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
}

/// Calls `take` for each name in a folder but its own and the one above. False where it cannot be read, or
/// `take` says so.
template <class Take>
bool for_each_name(int folder, const Take& take) {
    const int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const std::unique_ptr<DIR, int (*)(DIR*)> list{again < 0 ? nullptr : fdopendir(again), closedir};
    if (list == nullptr) {
        close(again);
        return false;
    }
    while (const dirent* const entry = readdir(list.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != ".." && !take(entry->d_name)) {
            return false;
        }
    }
    return true;
}

/// Takes a tree apart from above: the folders in a folder are moved to the top before it is removed, so that
/// no more than two are open at a time.
class TreeRemover {
  public:
    explicit TreeRemover(UniqueFd top) : top_{std::move(top)} {}

    /// False with errno.
    bool remove_all() {
        for (bool is_empty = false; !is_empty;) {
            is_empty = true;
            const bool is_good = for_each_name(top_.get(), [&](const char* name) {
                is_empty = false;
                return remove(top_.get(), name);
            });
            if (!is_good) {
                return false;
            }
        }
        return true;
    }
    [[nodiscard]] uint64_t freed() const { return freed_; }

  private:
    /// Of the top: a folder is emptied for that.
    bool remove(int folder, const char* name) {
        struct stat status {};
        if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            return false;
        }
        if (!S_ISDIR(status.st_mode)) {
            return remove_file(folder, name, status);
        }
        open_up(folder, name);
        const UniqueFd inner = open_folder(folder, name);
        const bool is_emptied = inner.valid() && for_each_name(inner.get(), [&](const char* each) {
                                    struct stat found {};
                                    if (fstatat(inner.get(), each, &found, AT_SYMLINK_NOFOLLOW) != 0) {
                                        return false;
                                    }
                                    return S_ISDIR(found.st_mode) ? move_to_top(inner.get(), each)
                                                                  : remove_file(inner.get(), each, found);
                                });
        freed_ += size_of(status);
        return is_emptied && unlinkat(folder, name, AT_REMOVEDIR) == 0;
    }

    bool remove_file(int folder, const char* name, const struct stat& status) {
        freed_ += status.st_nlink == 1 ? size_of(status) : 0;
        return unlinkat(folder, name, 0) == 0;
    }

    bool move_to_top(int folder, const char* name) {
        open_up(folder, name);
        do {
            const std::string place = std::to_string(++moved_);
            if (renameat2(folder, name, top_.get(), place.c_str(), RENAME_NOREPLACE) == 0) {
                return true;
            }
        } while (errno == EEXIST);
        return false;
    }

    /// An ordinary user needs rights in a folder to change it, which its mode may not give.
    static void open_up(int folder, const char* name) {
        // Where that fails, what is done next does, and tells it.
        [[maybe_unused]] const bool is_open = geteuid() == 0 || fchmodat(folder, name, S_IRWXU, 0) == 0;
    }

    UniqueFd top_;
    uint64_t freed_ = 0;
    uint64_t moved_ = 0;
};

/// An ordinary user's guests have files of users whom only their user namespaces have.
void remove_as_its_users(const fs::path& folder) {
    const HelperProcess rm{{.name = "rm",
                            .file = "/bin/rm",
                            .arguments = {"-rf", "--", folder},
                            .descriptors = {},
                            .is_apart = true,
                            .has_users = true}};
    pollfd end{rm.pidfd(), POLLIN, 0};
    while (poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
}

}  // namespace

uint64_t remove_tree(const fs::path& folder) {
    const auto fail = [&] {
        throw Error{ExitStatus::no_resources, "cannot remove '" + folder.string() + "'", errno_text(errno),
                    "remove it yourself"};
    };
    UniqueFd top = open_folder(AT_FDCWD, folder.c_str());
    if (!top.valid()) {
        if (errno == ENOENT) {
            return 0;
        }
        fail();
    }
    TreeRemover remover{std::move(top)};
    if (!remover.remove_all() || rmdir(folder.c_str()) != 0) {
        const int cause = errno;
        if ((cause == EACCES || cause == EPERM) && SubordinateIds::of(geteuid())) {
            remove_as_its_users(folder);
        }
        if (access(folder.c_str(), F_OK) == 0) {
            errno = cause;
            fail();
        }
    }
    return remover.freed();
}

uint64_t tree_size(const fs::path& folder) {
    thread_local uint64_t size;
    size = 0;
    constexpr int kOpen = 16;
    nftw(
        folder.c_str(),
        [](const char* /*path*/, const struct stat* status, int /*kind*/, FTW* /*place*/) {
            size += size_of(*status);
            return 0;
        },
        kOpen, FTW_PHYS | FTW_MOUNT);
    return size;
}

}  // namespace hull::container
