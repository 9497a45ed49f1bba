// The loop of a device that serves one request after the other.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/virtio/device.h"

namespace hull::virtio {

/// Serves the queue's chains until `stop_fd` is readable: `serve` is called for each and answers how many
/// bytes it wrote. Sleeps while there is none. Ends early, with the driver told, when the queue breaks.
void serve_chains(ActiveQueue& queue, DriverCalls& driver, int stop_fd,
                  const std::function<uint32_t(const DescriptorChain&)>& serve);

}  // namespace hull::virtio
