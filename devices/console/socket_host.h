// A listening socket as the host's side of a port.
#pragma once

#include "base/unique_fd.h"
#include "devices/console/port_host.h"

namespace hull::virtio {

/// Serves one client at a time; others wait in the socket's backlog. A client that has left is there until
/// what it had sent is read. One that only has sent all (shutdown(2)) is still there.
class SocketHost final : public PortHost {
  public:
    /// A non-blocking unix stream socket that listens.
    explicit SocketHost(UniqueFd listener) : listener_{std::move(listener)} {}

    [[nodiscard]] bool is_open() const override { return client_.valid(); }
    size_t write(std::span<const std::byte> bytes) override;
    size_t read(std::span<std::byte> target) override;
    [[nodiscard]] Waits waits(const Wishes& wishes) const override;
    void take_events(const Waits& waits) override;

  private:
    UniqueFd listener_;
    UniqueFd client_;
    bool has_sent_all_ = false;  // the client
    bool has_left_ = false;      // the client, and there may be something that it sent before
};

}  // namespace hull::virtio
