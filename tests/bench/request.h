// What hull_device_bench measures: one request to each device, again and again.
#pragma once

#include <memory>

namespace hull::bench {

/// A device whose driver makes the same request over and over.
class Request {
  public:
    virtual ~Request() = default;
    /// The guest's part: makes the request available, and takes the answer of the one before.
    virtual void ask() = 0;
    /// The device's part: answers it.
    virtual void serve() = 0;
    /// Whether all were answered that were asked for.
    [[nodiscard]] virtual bool all_came() = 0;
};

/// Reads 4 KiB of a disk in memory.
std::unique_ptr<Request> make_block_read();
/// Sends a frame of 64 bytes, and takes one from the other side of a socket.
std::unique_ptr<Request> make_net_send();
std::unique_ptr<Request> make_net_receive();
/// Writes 16 bytes, as Linux's hvc sends them, to a console whose host only counts.
std::unique_ptr<Request> make_console_write();
/// Sends 64 bytes to a program of the host's, which sends them back.
std::unique_ptr<Request> make_vsock_echo();
/// Asks for 64 random bytes.
std::unique_ptr<Request> make_rng_fill();

}  // namespace hull::bench
