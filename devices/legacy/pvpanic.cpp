#include "devices/legacy/pvpanic.h"

#include <misc/pvpanic.h>

#include <cstring>
#include <utility>

namespace hull {

Pvpanic::Pvpanic(GuestRequestHandler on_request) : on_request_{std::move(on_request)} {}

void Pvpanic::read(uint64_t offset, std::span<std::byte> data) {
    std::memset(data.data(), 0, data.size());
    if (offset == 0) {
        // "Crash loaded" (the guest goes on to its own crash kernel) is not offered: a machine that panicked
        // ends.
        data[0] = std::byte{PVPANIC_PANICKED};
    }
}

void Pvpanic::write(uint64_t offset, std::span<const std::byte> data) {
    if (offset == 0 && (data[0] & std::byte{PVPANIC_PANICKED}) != std::byte{0}) {
        on_request_(GuestRequest::panic);
    }
}

}  // namespace hull
