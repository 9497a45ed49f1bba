// Recognising and applying relocations. Input: the virtual offset in steps of 2 MiB (2 bytes), the kernel's
// size (2 bytes), the table, which ends the input.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "boot/image/bad_image.h"
#include "boot/image/little_endian.h"
#include "boot/image/randomize.h"

using namespace hull::boot;

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::span<const std::byte> input = std::as_bytes(std::span{data, size});
    const auto steps = read_at<uint16_t>(input, 0);
    const auto image_size = read_at<uint16_t>(input, 2);
    if (!image_size) {
        return 0;
    }
    const auto relocations = find_relocations(input.subspan(4));
    if (!relocations) {
        return 0;
    }
    std::vector<std::byte> image(*image_size, std::byte{0x81});
    try {
        apply_relocations(*relocations, image, 0x100'0000, uint64_t{*steps % 512U} << 21);
    } catch (const BadImage&) {
    }
    return 0;
}
