// What the user says of the socket device (--vsock).
#pragma once

#include <cstdint>
#include <string>

namespace hull {

/// A guest's socket device and where its other side is on the host.
struct VsockConfig {
    uint32_t cid = 0;  ///< the guest's address: 3 to 2^32 - 2
    std::string path;  ///< of the unix socket that is made for it

    /// "cid=N,socket=PATH", as on the command line; a comma in PATH is written twice. Throws Error (usage).
    static VsockConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
};

}  // namespace hull
