#include "base/unix_address.h"

#include <sys/socket.h>

#include <cerrno>

namespace hull {

tl::expected<UnixAddress, std::string> UnixAddress::at(const std::string& path) {
    if (path.empty() || path.size() > kMostPath) {
        return tl::unexpected{"a socket's path has 1 to " + std::to_string(kMostPath) + " bytes"};
    }
    UnixAddress made;
    made.address_.sun_family = AF_UNIX;
    path.copy(made.address_.sun_path, kMostPath);
    return made;
}

int UnixAddress::connect(int fd) const {
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0 ? 0 : errno;
}

int UnixAddress::bind(int fd) const {
    return ::bind(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0 ? 0 : errno;
}

}  // namespace hull
