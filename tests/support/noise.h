// Content that does not become small where it is packed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace hull::test {

inline std::string noise(size_t bytes, uint32_t seed) {
    std::minstd_rand random{seed};
    std::string text(bytes, '\0');
    std::ranges::generate(text, [&] { return static_cast<char>(random() >> 8U); });
    return text;
}

}  // namespace hull::test
