#include "devices/vsock/host_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace hull::virtio {

namespace {

/// Programs that have connected and were not accepted yet.
constexpr int kBacklog = 128;

UniqueFd make_socket() {
    return UniqueFd{socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
}

/// `path` has at most 107 bytes.
sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

int bind_to(int fd, const sockaddr_un& address) {
    return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

int connect_to(int fd, const sockaddr_un& address) {
    return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

}  // namespace

VsockListener::VsockListener(std::string path) : path_{std::move(path)}, socket_{make_socket()} {
    const auto fail = [&](const std::string& why, const char* advice) {
        throw Error{ExitStatus::bad_file, "cannot listen on the socket '" + path_ + "'", why, advice};
    };
    if (!socket_.valid()) {
        fail(errno_text(errno), "");
    }
    const sockaddr_un address = address_of(path_);
    int error = bind_to(socket_.get(), address);
    struct stat found {};
    if (error == EADDRINUSE && lstat(path_.c_str(), &found) == 0) {
        if (!S_ISSOCK(found.st_mode)) {
            fail("a file that is no socket has this name", "give another path");
        }
        if (connect_to(make_socket().get(), address) != ECONNREFUSED) {
            fail("another program uses it", "end that program, or give another path");
        }
        unlink(path_.c_str());
        error = bind_to(socket_.get(), address);
    }
    if (error != 0) {
        fail(errno_text(error), "check the path and who may write there");
    }
    if (lstat(path_.c_str(), &found) != 0 || listen(socket_.get(), kBacklog) != 0) {
        error = errno;
        unlink(path_.c_str());
        fail(errno_text(error), "");
    }
    is_there_ = true;
    device_ = found.st_dev;
    inode_ = found.st_ino;
}

void VsockListener::remove_file() {
    struct stat found {};
    if (std::exchange(is_there_, false) && lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ &&
        found.st_ino == inode_) {
        unlink(path_.c_str());
    }
}

UniqueFd connect_to_host(const std::string& path, uint32_t port) {
    UniqueFd fd = make_socket();
    if (fd.valid() && connect_to(fd.get(), address_of(path + "_" + std::to_string(port))) != 0) {
        fd.reset();
    }
    return fd;
}

}  // namespace hull::virtio
