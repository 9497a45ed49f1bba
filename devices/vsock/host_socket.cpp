#include "devices/vsock/host_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>

namespace hull::virtio {

namespace {

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

int connect_to(int fd, const sockaddr_un& address) {
    return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

}  // namespace

UniqueFd connect_to_host(const std::string& path, uint32_t port) {
    UniqueFd fd = make_socket();
    if (fd.valid() && connect_to(fd.get(), address_of(path + "_" + std::to_string(port))) != 0) {
        fd.reset();
    }
    return fd;
}

}  // namespace hull::virtio
