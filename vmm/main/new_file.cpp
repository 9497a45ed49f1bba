#include "vmm/main/new_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/error.h"
#include "base/small_file.h"

namespace hull {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
    throw Error{ExitStatus::bad_file, "cannot write '" + path.string() + "'", why,
                "check the folder and who may write there"};
}

bool is_same(const std::filesystem::path& path, int fd) {
    struct stat named {};
    struct stat opened {};
    return stat(path.c_str(), &named) == 0 && fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

}  // namespace

NewFile::NewFile(std::filesystem::path path) : path_{std::move(path)} {
    constexpr mode_t kMode = 0600;
    UniqueFd fd{open(beside().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kMode)};
    if (!fd.valid()) {
        refuse(path_, errno_text(errno));
    }
    // Who has just put it in its place had it locked, too: then it has that name no more.
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || !is_same(beside(), fd.get())) {
        refuse(path_, "another process is writing it");
    }
    fd_ = std::move(fd);
    if (ftruncate(fd_.get(), 0) != 0) {
        refuse(path_, errno_text(errno));
    }
}

NewFile::~NewFile() {
    if (fd_.valid()) {
        unlink(beside().c_str());
    }
}

void NewFile::commit() {
    if (rename(beside().c_str(), path_.c_str()) != 0) {
        refuse(path_, errno_text(errno));
    }
    fd_.reset();
    if (!sync_folder(path_.parent_path())) {
        refuse(path_, errno_text(errno));
    }
}

std::filesystem::path NewFile::beside() const {
    return path_.string() + ".new";
}

}  // namespace hull
