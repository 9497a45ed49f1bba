#include "container/layer/tar_header.h"

#include <numeric>

namespace hull::container {

namespace {

/// Where a field begins, and its bytes.
struct Field {
    size_t at;
    size_t size;
};
constexpr Field kMode{100, 8};
constexpr Field kOwner{108, 8};
constexpr Field kGroup{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kTime{136, 12};
constexpr Field kSum{148, 8};
constexpr size_t kType = 156;
constexpr size_t kMagic = 257;
constexpr uint64_t kTooLargeForOctal = uint64_t{1} << 33U;

/// Octal digits up to a NUL.
void put(std::string& header, Field field, uint64_t value) {
    for (size_t place = field.size - 1; place-- > 0; value >>= 3U) {
        header[field.at + place] = static_cast<char>('0' + (value & 7U));
    }
}

}  // namespace

std::string tar_header(std::string_view name, uint64_t size) {
    const bool is_folder = name.ends_with('/');
    std::string header(kTarBlock, '\0');
    header.replace(0, name.size(), name);
    put(header, kMode, is_folder ? 0755 : 0644);
    put(header, kOwner, 0);
    put(header, kGroup, 0);
    put(header, kTime, 0);
    if (size < kTooLargeForOctal) {
        put(header, kSize, size);
    } else {
        header[kSize.at] = '\x80';
        for (size_t place = kSize.size; place-- > 1; size >>= 8U) {
            header[kSize.at + place] = static_cast<char>(size & 0xffU);
        }
    }
    header[kType] = is_folder ? '5' : '0';
    constexpr std::string_view kUstar{"ustar\00000", 8};
    header.replace(kMagic, kUstar.size(), kUstar);
    // Of all bytes, those of the sum itself as spaces.
    header.replace(kSum.at, kSum.size, kSum.size, ' ');
    put(header, {kSum.at, kSum.size - 1},
        std::accumulate(header.begin(), header.end(), uint64_t{0},
                        [](uint64_t sum, char byte) { return sum + static_cast<unsigned char>(byte); }));
    header[kSum.at + kSum.size - 2] = '\0';
    return header;
}

}  // namespace hull::container
