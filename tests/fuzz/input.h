// What the fuzz targets of devices have in common.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>

namespace hull::test {

/// The fuzzer's bytes, and zeros behind their end.
class FuzzInput {
  public:
    explicit FuzzInput(std::span<const uint8_t> bytes) : bytes_{bytes} {}

    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    uint8_t byte() {
        if (bytes_.empty()) {
            return 0;
        }
        const uint8_t value = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return value;
    }
    uint16_t half_word() {
        const uint8_t low = byte();
        return static_cast<uint16_t>(low | byte() << 8);
    }
    uint32_t word() {
        const uint16_t low = half_word();
        return low | uint32_t{half_word()} << 16;
    }

  private:
    std::span<const uint8_t> bytes_;
};

/// What holds whatever the fuzzer does.
inline void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

}  // namespace hull::test
