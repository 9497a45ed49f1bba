// A piece of what a command prints, as Docker's clients take it where there is no terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hull::container {

/// `stream` is 1 for output, 2 for errors; then three bytes of zero, the length in four, big-endian, and the
/// bytes.
inline std::string framed(unsigned stream, std::string_view bytes) {
    constexpr unsigned kByte = 8;
    std::string frame{static_cast<char>(stream), 0, 0, 0};
    for (unsigned shift = 4 * kByte; shift > 0;) {
        shift -= kByte;
        frame += static_cast<char>(static_cast<uint32_t>(bytes.size()) >> shift & 0xffU);
    }
    return frame.append(bytes);
}

}  // namespace hull::container
