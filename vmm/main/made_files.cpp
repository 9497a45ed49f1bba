#include "vmm/main/made_files.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/unix_address.h"

namespace hull {

namespace {

[[noreturn]] void refuse(const std::string& what, const std::filesystem::path& path, const std::string& why,
                         const std::string& advice) {
    throw Error{ExitStatus::bad_file, "cannot " + what + " '" + path.string() + "'", why, advice};
}

std::optional<struct stat> status_of(const std::filesystem::path& path) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0 ? std::optional{status} : std::nullopt;
}

UniqueFd make_socket() {
    UniqueFd made{socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!made.valid()) {
        throw Error{ExitStatus::no_resources, "cannot make a socket", errno_text(errno)};
    }
    return made;
}

}  // namespace

UniqueFd MadeFiles::listen_at(const std::filesystem::path& path) {
    constexpr const char* kWhat = "listen at";
    constexpr int kBacklog = 128;  // programs that have connected and were not accepted yet
    const auto address = UnixAddress::at(path);
    if (!address) {
        refuse(kWhat, path, address.error(), "give another one");
    }
    if (const auto status = status_of(path)) {
        if (!S_ISSOCK(status->st_mode)) {
            refuse(kWhat, path, "something else has that name", "remove it or give another path");
        }
        // Left behind by a program that was killed, if nobody answers.
        const UniqueFd client = make_socket();
        if (address->connect(client.get()) != ECONNREFUSED) {
            refuse(kWhat, path, "another program does, or may", "end that program or give another path");
        }
        unlink(path.c_str());
    }
    UniqueFd listener = make_socket();
    int cause = address->bind(listener.get());
    if (cause == 0 && listen(listener.get(), kBacklog) != 0) {
        cause = errno;
    }
    if (cause != 0) {
        refuse(kWhat, path, errno_text(cause), "check the path and who may write there");
    }
    remember(path);
    return listener;
}

UniqueFd MadeFiles::open_pipe(const std::filesystem::path& path) {
    constexpr const char* kWhat = "use the named pipe";
    constexpr const char* kAdvice = "check the path and who may write there";
    constexpr mode_t kMode = 0600;
    const bool made = mkfifo(path.c_str(), kMode) == 0;
    if (!made && errno != EEXIST) {
        refuse(kWhat, path, errno_text(errno), kAdvice);
    }
    if (made) {
        remember(path);
    }
    UniqueFd pipe{open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    const int cause = errno;
    struct stat status {};
    if (pipe.valid() && fstat(pipe.get(), &status) == 0 && !S_ISFIFO(status.st_mode)) {
        refuse(kWhat, path, "it is no named pipe", "remove it or give another path");
    }
    if (!pipe.valid()) {
        refuse(kWhat, path, errno_text(cause), kAdvice);
    }
    return pipe;
}

void MadeFiles::remember(const std::filesystem::path& path) {
    files_.push_back({path, UniqueFd{open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)}});
}

void MadeFiles::remove() {
    for (const File& file : files_) {
        const auto found = status_of(file.path);
        struct stat made {};
        if (found && fstat(file.itself.get(), &made) == 0 && found->st_dev == made.st_dev &&
            found->st_ino == made.st_ino) {
            unlink(file.path.c_str());
        }
    }
    files_.clear();
}

}  // namespace hull
