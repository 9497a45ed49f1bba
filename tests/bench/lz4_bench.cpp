// What unpacking a kernel's LZ4 payload costs, by Hull's decoder or by liblz4.
//   hull_lz4_bench hull|liblz4 ROUNDS BZIMAGE
// Prints the least time of a round. For instructions, the difference of two runs with one round more:
//   valgrind --tool=callgrind --callgrind-out-file=/dev/null hull_lz4_bench hull 1 BZIMAGE
#include <lz4.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/mapping.h"
#include "boot/image/bzimage.h"
#include "boot/image/little_endian.h"
#include "boot/image/lz4_block.h"

using namespace hull;

namespace {

using Bytes = std::span<const std::byte>;

size_t unpack_by_liblz4(Bytes block, std::span<std::byte> target) {
    const int size = LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()),
                                         reinterpret_cast<char*>(target.data()),
                                         static_cast<int>(block.size()), static_cast<int>(target.size()));
    return size < 0 ? 0 : static_cast<size_t>(size);
}

/// The blocks of the legacy frame one after the other, as boot/image/decompress.cpp has them.
size_t unpack(Bytes payload, std::span<std::byte> target, bool by_hull) {
    size_t done = 0;
    for (size_t at = sizeof(uint32_t); done < target.size();) {
        const size_t size = boot::read_at<uint32_t>(payload, at).value();
        const Bytes block = payload.subspan(at + sizeof(uint32_t), size);
        const auto room = target.subspan(done, std::min(target.size() - done, size_t{8} << 20));
        const size_t made = by_hull
                                ? boot::unpack_lz4_block(block, room, boot::Lz4Overflow::error).value_or(0)
                                : unpack_by_liblz4(block, room);
        if (made == 0) {
            break;
        }
        done += made;
        at += sizeof(uint32_t) + size;
    }
    return done;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("hull_lz4_bench hull|liblz4 ROUNDS BZIMAGE\n", stderr);
        return 2;
    }
    using Clock = std::chrono::steady_clock;
    const Mapping file = Mapping::of_file(open_input_file(argv[3], "kernel"), "kernel");
    const boot::BzImage image = boot::parse_bzimage(file.bytes());
    const Bytes payload = image.payload;
    std::vector<std::byte> target(boot::read_at<uint32_t>(payload, payload.size() - 4).value());
    Clock::duration least = Clock::duration::max();
    for (int round = std::atoi(argv[2]); round > 0; --round) {
        const auto begin = Clock::now();
        if (unpack(payload, target, std::string{argv[1]} == "hull") != target.size()) {
            std::fputs("hull_lz4_bench: the payload is not whole\n", stderr);
            return 1;
        }
        least = std::min<Clock::duration>(least, Clock::now() - begin);
    }
    std::printf("%.2f ms\n", std::chrono::duration<double, std::milli>(least).count());
    return 0;
}
