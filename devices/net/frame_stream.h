// Frames over a stream: the form that passt and QEMU's "stream" network speak. Before each frame stands its
// length, four bytes with the highest first.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace hull::virtio {

/// Connects to the unix socket of a program that speaks this form. Throws Error (bad_file).
UniqueFd connect_frame_stream(const std::string& path);
/// The same for a path that was used before: none, with errno, where nobody takes the connection now.
UniqueFd find_frame_stream(const std::string& path);

/// Makes a connected stream socket, which does not block, answer as a socket that keeps messages apart does:
/// each message a frame with a struct virtio_net_hdr_v1 before it, which is made of zeros here and dropped
/// there. One thread.
class FrameStream {
  public:
    /// `fd` stays the caller's.
    explicit FrameStream(int fd) : fd_{fd}, received_(kBuffer) {}

    /// As readv(2) of the next frame: its size with the header, cut to what has room in `places`; 0 at the
    /// end of the stream, also where the other side breaks the form; -1 with errno, EAGAIN where there is no
    /// whole frame yet.
    ssize_t receive(std::span<const iovec> places);
    /// As writev(2) of one frame. EAGAIN where there is no room; a frame of which a part has left is kept.
    ssize_t send(std::span<const iovec> segments);

    /// Whether receive() has a frame without looking at the socket, which then need not be readable.
    [[nodiscard]] bool has_frame() const;
    /// Whether send() has kept something that flush() is to send when the socket has room.
    [[nodiscard]] bool has_rest() const { return !rest_.empty(); }
    /// False where the socket has no room for all of it.
    bool flush();

  private:
    static constexpr size_t kBuffer = size_t{128} << 10;  // two of the largest frames

    int fd_;
    std::vector<std::byte> received_;
    size_t first_ = 0;  // in received_: what is there and was not given
    size_t end_ = 0;
    std::vector<std::byte> rest_;  // of a frame, to be sent
};

}  // namespace hull::virtio
