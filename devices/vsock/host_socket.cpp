#include "devices/vsock/host_socket.h"

#include <sys/socket.h>

#include <utility>

namespace hull::virtio {

HostConnector connect_beside(std::string path) {
    return [path = std::move(path)](uint32_t port) {
        UniqueFd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
        const auto address = UnixAddress::at(path + "_" + std::to_string(port));
        if (!address || address->connect(fd.get()) != 0) {
            fd.reset();
        }
        return fd;
    };
}

}  // namespace hull::virtio
