#include "devices/legacy/i8042.h"

#include <cstring>
#include <utility>

namespace hull {

namespace {

constexpr uint64_t kCommandPort = 4;
constexpr std::byte kPulseResetLine{0xfe};

}  // namespace

I8042::I8042(GuestRequestHandler on_request) : on_request_{std::move(on_request)} {}

void I8042::read(uint64_t /*offset*/, std::span<std::byte> data) {
    // Status zero: the input buffer is empty, so a kernel about to pull the reset line does not wait for it.
    std::memset(data.data(), 0, data.size());
}

void I8042::write(uint64_t offset, std::span<const std::byte> data) {
    if (offset == kCommandPort && data[0] == kPulseResetLine) {
        on_request_(GuestRequest::reset);
    }
}

}  // namespace hull
