// What a guest can ask of the machine through a legacy device.
#pragma once

#include <functional>

namespace hull {

enum class GuestRequest {
    power_off,
    reset,
    panic,  ///< its kernel has panicked; the guest may still print, and may reset itself afterwards
};

/// Called on the vCPU thread that asked; returns at once.
using GuestRequestHandler = std::function<void(GuestRequest)>;

}  // namespace hull
