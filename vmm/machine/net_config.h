// What the user says of a network device (--net).
#pragma once

#include <optional>
#include <string>

#include "devices/net/net.h"

namespace hull {

/// A network device of the guest's.
struct NetConfig {
    std::string tap;                        ///< the host's tap device at its other side
    std::optional<virtio::MacAddress> mac;  ///< none: one by chance

    /// "tap=NAME[,mac=XX:XX:XX:XX:XX:XX]", as on the command line. Throws Error (usage).
    static NetConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
};

}  // namespace hull
