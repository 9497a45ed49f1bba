#include "base/unique_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace hull {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
        reset();
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

UniqueFd::~UniqueFd() {
    reset();
}

void UniqueFd::reset() {
    if (fd_ >= 0) {
        close(fd_);
        fd_ = -1;
    }
}

namespace {

std::string named(std::string_view verb, std::string_view role, const std::filesystem::path& path) {
    return std::string{"cannot "}.append(verb).append(" ").append(role).append(" '") + path.string() + "'";
}

}  // namespace

InputFile open_input_file(const std::filesystem::path& path, std::string_view role) {
    // O_NONBLOCK so that a FIFO given by mistake is refused below instead of being waited on.
    UniqueFd fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!fd.valid()) {
        const int cause = errno;
        throw Error{ExitStatus::bad_file, named("open", role, path), errno_text(cause),
                    cause == EACCES ? "make it readable for this user" : "check the path"};
    }
    struct stat status {};
    if (fstat(fd.get(), &status) != 0) {
        throw Error{ExitStatus::bad_file, named("look at", role, path), errno_text(errno)};
    }
    if (!S_ISREG(status.st_mode)) {
        throw Error{ExitStatus::bad_file, named("use", role, path),
                    S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a regular file",
                    "give the path of a file"};
    }
    if (status.st_size == 0) {
        throw Error{ExitStatus::bad_file, named("use", role, path), "the file is empty",
                    "was it downloaded or copied completely?"};
    }
    return {std::move(fd), static_cast<uint64_t>(status.st_size), path};
}

void read_exactly(const InputFile& file, std::string_view role, uint64_t offset, void* buffer, size_t size) {
    auto* target = static_cast<char*>(buffer);
    while (size > 0) {
        const ssize_t got = pread(file.fd.get(), target, size, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            throw Error{ExitStatus::bad_file, named("read", role, file.path),
                        got < 0 ? errno_text(errno) : "it ends too early (did it shrink while it was read?)"};
        }
        target += got;
        offset += static_cast<uint64_t>(got);
        size -= static_cast<size_t>(got);
    }
}

UniqueFd duplicate(int fd) {
    return UniqueFd{fcntl(fd, F_DUPFD_CLOEXEC, 0)};
}

UniqueFd make_eventfd() {
    UniqueFd fd{eventfd(0, EFD_CLOEXEC)};
    if (!fd.valid()) {
        throw Error{ExitStatus::no_resources, "cannot make an eventfd", errno_text(errno),
                    "raise the limit of open files (ulimit -n)"};
    }
    return fd;
}

void signal_eventfd(int fd) {
    uint64_t one = 1;
    const iovec source{&one, sizeof one};
    // By the call that a disk's thread writes its disk with, whose list of calls is to be short (vmm/jail).
    // Can only fail where the counter is full, and then the reader has plenty to wake up for.
    [[maybe_unused]] const ssize_t written = pwritev2(fd, &source, 1, -1, 0);
}

void drain_eventfd(int fd) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(fd, &count, sizeof count);
}

bool is_readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return poll(&entry, 1, 0) > 0;
}

}  // namespace hull
