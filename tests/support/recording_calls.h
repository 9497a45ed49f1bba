// What a device under test calls its driver by.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "devices/virtio/device.h"

namespace hull::test {

/// Counts what it is told. One thread; a device with at most two queues.
class RecordingCalls final : public virtio::DriverCalls {
  public:
    void used_buffers(uint16_t queue) override { ++interrupts.at(queue); }
    void configuration_changed() override {}
    void needs_reset(const char* why) override { broken = why; }

    std::array<long, 2> interrupts{};  ///< by queue
    std::string broken;                ///< why the device stopped; empty while it has not
};

}  // namespace hull::test
