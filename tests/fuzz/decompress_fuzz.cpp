// Each decompressor's framing. Input: the compression (1 byte), the size to unpack to (3 bytes, of which up
// to 64 KiB count), the data.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "boot/image/bad_image.h"
#include "boot/image/decompress.h"
#include "boot/image/little_endian.h"

using namespace hull::boot;

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::span<const std::byte> input = std::as_bytes(std::span{data, size});
    const auto head = read_at<uint32_t>(input, 0);
    if (!head) {
        return 0;
    }
    const auto compression = static_cast<Compression>((*head & 0xff) % 6);
    const size_t target_size = (*head >> 8) % ((size_t{64} << 10) + 1);
    const std::span<const std::byte> packed = input.subspan(sizeof *head);
    (void)compression_of(packed);
    // On the heap and of exact size, so that the sanitizer sees a byte too many.
    std::vector<std::byte> target(target_size);
    try {
        std::vector<std::byte> start(std::min<size_t>(target_size, 512));
        (void)unpack_start(compression, packed, start);
        unpack(compression, packed, target);
    } catch (const BadImage&) {
    }
    return 0;
}
