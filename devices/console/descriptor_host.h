// Descriptors as the host's side of a port: a file, or two named pipes.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "devices/console/port_host.h"

namespace hull::virtio {

/// Reads one descriptor and writes another. Where writing fails (a full disk) a warning tells it once, and
/// what cannot be written is dropped: the guest goes on.
class DescriptorHost final : public PortHost {
  public:
    /// Both are non-blocking, or of regular files; `input` may be none. `name` is for the log.
    DescriptorHost(UniqueFd input, UniqueFd output, std::string name);

    size_t write(std::span<const std::byte> bytes) override;
    size_t read(std::span<std::byte> target) override;
    [[nodiscard]] Waits waits(const Wishes& wishes) const override;
    void take_events(const Waits& /*waits*/) override {}

  private:
    UniqueFd input_;
    UniqueFd output_;
    const std::string name_;
    bool told_failure_ = false;
};

}  // namespace hull::virtio
