// The unix sockets by which programs of the host's reach a guest's ports, and the other way round: as
// Firecracker and Cloud Hypervisor have them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/unique_fd.h"

namespace hull::virtio {

/// The longest path of a VsockListener, in bytes: "_" and any port still fit behind it.
inline constexpr size_t kMostVsockPath = 107 - 11;

/// A listening unix socket with its file, which is removed with this object unless another has taken its
/// place. One thread.
class VsockListener {
  public:
    /// Listens on `path`, of 1 to kMostVsockPath bytes. A socket's file that nobody listens on any more is
    /// replaced. Throws Error (bad_file) where somebody does, where something else is there, or where the
    /// host refuses it otherwise.
    explicit VsockListener(std::string path);
    VsockListener(const VsockListener&) = delete;
    VsockListener& operator=(const VsockListener&) = delete;
    ~VsockListener() { remove_file(); }

    /// The socket, which does not block, for whoever accepts. Once.
    [[nodiscard]] UniqueFd take_socket() { return std::move(socket_); }
    /// Removes the file now; harmless a second time.
    void remove_file();

  private:
    std::string path_;
    UniqueFd socket_;
    bool is_there_ = false;
    dev_t device_ = 0;  // which file it is
    ino_t inode_ = 0;
};

/// Connects to the program that listens on `path` with "_" and `port` behind it, without waiting. No
/// descriptor where there is none, or its queue of connections is full. The socket does not block.
UniqueFd connect_to_host(const std::string& path, uint32_t port);

}  // namespace hull::virtio
