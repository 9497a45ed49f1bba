// A virtio device for tests of what carries it.
#pragma once

#include <linux/virtio_ids.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "devices/virtio/device.h"

namespace hull::test {

/// A device that tells what it is told.
class RecordingDevice final : public virtio::VirtioDevice {
  public:
    [[nodiscard]] uint32_t type() const override { return VIRTIO_ID_CONSOLE; }
    [[nodiscard]] uint64_t features() const override { return offered; }
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kSizes; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override {
        if (offset < configuration.size()) {
            data[0] = configuration[offset];
        }
    }
    void write_configuration(uint64_t offset, std::span<const std::byte> data) override {
        if (offset < configuration.size()) {
            configuration[offset] = data[0];
        }
    }
    void activate(virtio::Activation given) override {
        activation.emplace(std::move(given));
        if (host_is_full) {
            throw Error{ExitStatus::no_resources, "cannot make an eventfd", "Too many open files"};
        }
    }
    void stop() override {
        activation.reset();
        ++stops;
    }
    void reset() override {
        activation.reset();
        ++resets;
    }

    uint64_t offered = uint64_t{1} << 3;
    std::array<std::byte, 4> configuration{};
    std::optional<virtio::Activation> activation;
    bool host_is_full = false;  ///< has activate() fail half way
    int stops = 0;
    int resets = 0;

  private:
    static constexpr uint16_t kSizes[] = {8, 16};
};

}  // namespace hull::test
