// Where a unix socket is, in the file system.
#pragma once

#include <sys/un.h>

#include <string>
#include <tl/expected.hpp>

namespace hull {

/// The address of a unix socket at a path. Immutable; any thread may use it.
class UnixAddress {
  public:
    /// The most bytes of a path, which Linux ends by a zero (unix(7)).
    static constexpr size_t kMostPath = sizeof(sockaddr_un::sun_path) - 1;

    /// Of the socket at `path`. A clause says what is wrong with a path that no socket can have: one that is
    /// empty, or has more than kMostPath bytes.
    static tl::expected<UnixAddress, std::string> at(const std::string& path);

    /// Connects a socket to the one that is there, and makes a socket be there. 0, or the errno.
    [[nodiscard]] int connect(int fd) const;
    [[nodiscard]] int bind(int fd) const;

  private:
    UnixAddress() = default;
    sockaddr_un address_{};
};

}  // namespace hull
