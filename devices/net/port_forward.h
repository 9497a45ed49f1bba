// A port of the host's that leads to one of the guest's.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>

namespace hull::virtio {

struct PortForward {
    in_addr host_address{};  ///< where the host listens; 0.0.0.0: at all its addresses
    uint16_t host_port = 0;
    uint16_t guest_port = 0;
    bool udp = false;

    /// "[HOSTIP:]PORT:GUESTPORT[/tcp|/udp]", ports from 1 to 65535, HOSTIP four numbers and 127.0.0.1 where
    /// it is left out. Nothing where it is something else.
    static std::optional<PortForward> parse(const std::string& text);
    /// The reverse, whole.
    [[nodiscard]] std::string text() const;
};

}  // namespace hull::virtio
