#include "boot/image/bzimage.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "boot/image/bad_image.h"
#include "boot/image/little_endian.h"

namespace hull::boot {

namespace {

constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr uint16_t kOldestProtocol = 0x020c;   // the first with xloadflags
constexpr uint64_t kSector = 512;
// The header's end is told relative to its field `header`, by the distance of the jump before it.
constexpr uint64_t kJumpBase = 0x202;
constexpr uint64_t kHeaderRoom = offsetof(boot_params, edd_mbr_sig_buffer);

template <typename T>
T field(std::span<const std::byte> file, size_t offset_in_header) {
    return read_at<T>(file, kSetupHeaderOffset + offset_in_header).value_or(T{});
}

std::span<const std::byte> header_bytes(std::span<const std::byte> file) {
    const uint64_t end = kJumpBase + std::to_integer<uint8_t>(file[kJumpBase - 1]);
    // Up to xloadflags and init_size every 2.12 header reaches.
    if (end > kHeaderRoom || end > file.size() ||
        end < kSetupHeaderOffset + offsetof(setup_header, init_size) + sizeof(setup_header::init_size)) {
        throw BadImage{"its setup header ends at " + hex(end) + ", where none does", "get the file again"};
    }
    return file.subspan(kSetupHeaderOffset, end - kSetupHeaderOffset);
}

}  // namespace

bool is_bzimage(std::span<const std::byte> file) {
    return file.size() >= kSetupHeaderOffset + offsetof(setup_header, realmode_swtch) &&
           field<uint16_t>(file, offsetof(setup_header, boot_flag)) == kBootFlag &&
           field<uint32_t>(file, offsetof(setup_header, header)) == kHeaderMagic &&
           field<uint16_t>(file, offsetof(setup_header, version)) >= 0x0200;
}

BzImage parse_bzimage(std::span<const std::byte> file) {
    const auto version = field<uint16_t>(file, offsetof(setup_header, version));
    if (version < kOldestProtocol) {
        throw BadImage{"its boot protocol " + std::to_string(version >> 8) + "." +
                           std::to_string(version & 0xff) + " is older than 2.12",
                       "give a 64-bit kernel of Linux 3.8 or later"};
    }
    BzImage image;
    image.raw_header = header_bytes(file);
    std::memcpy(&image.header, image.raw_header.data(),
                std::min(image.raw_header.size(), sizeof image.header));
    if ((image.header.xloadflags & XLF_KERNEL_64) == 0) {
        throw BadImage{"it is a 32-bit kernel", "Hull starts 64-bit kernels only"};
    }
    // 4 where the field is 0, for kernels of long ago.
    const uint64_t setup_sectors = image.header.setup_sects == 0 ? 4 : image.header.setup_sects;
    const uint64_t setup_size = (setup_sectors + 1) * kSector;
    if (file.size() <= setup_size) {
        throw BadImage{"it ends before its protected-mode part", "the file is cut off; get it again"};
    }
    image.protected_mode = file.subspan(setup_size);
    const auto payload =
        part_of(image.protected_mode, image.header.payload_offset, image.header.payload_length);
    if (!payload) {
        throw BadImage{"its compressed payload reaches past the end of the file",
                       "the file is cut off; get it again"};
    }
    if (payload->size() < sizeof(uint32_t)) {
        throw BadImage{"it has no compressed payload", "get the file again"};
    }
    image.payload = *payload;
    return image;
}

uint64_t self_unpacking_address(const BzImage& image) {
    const uint64_t address = image.header.pref_address;
    const uint64_t alignment = image.header.kernel_alignment;
    constexpr uint64_t kLowest = 0x10'0000;
    constexpr uint64_t kLimit = uint64_t{1} << 32;
    if (!std::has_single_bit(alignment) || address % alignment != 0) {
        throw BadImage{"its preferred address " + hex(address) + " is not aligned to its own alignment " +
                           hex(alignment),
                       "get the file again"};
    }
    const uint64_t needed = std::max<uint64_t>(image.header.init_size, image.protected_mode.size());
    if (address < kLowest || address >= kLimit || needed > kLimit - address) {
        throw BadImage{"it wants to be loaded at " + hex(address) + " and have " + hex(needed) +
                           " bytes there, which does not lie between 1 MiB and 4 GiB",
                       "get the file again"};
    }
    return address;
}

}  // namespace hull::boot
