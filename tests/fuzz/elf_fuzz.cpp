// The headers, segments and notes of an ELF kernel. Input: the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/guest_memory.h"
#include "boot/image/bad_image.h"
#include "boot/image/elf.h"

using namespace hull;
using namespace hull::boot;

namespace {

// Kept from input to input: what is in it plays no part in what is done.
GuestMemory& memory() {
    static constexpr GuestRange kRam[] = {GuestRange::of(0, uint64_t{24} << 20)};
    static GuestMemory memory{kRam, Mapping::Pages::transparent};
    return memory;
}

void check(const ElfImage& image, std::span<const std::byte> file) {
    for (const ElfSegment& segment : image.segments) {
        if (!image.extent.contains(segment.memory) || segment.file.size > segment.memory.size()) {
            abort();
        }
    }
    if (image.end > file.size() || !image.contains(image.entry)) {
        abort();
    }
    for (const FilePart& notes : image.notes) {
        (void)find_pvh_entry(file.subspan(notes.offset, notes.size));
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::span<const std::byte> file = std::as_bytes(std::span{data, size});
    (void)find_pvh_entry(file);
    try {
        const ElfImage image = parse_elf(file, file.size());
        check(image, file);
        place_segments(image, file, memory(), 0);
        place_segments(image, file, memory(), uint64_t{2} << 20);
    } catch (const BadImage&) {
    }
    try {
        (void)parse_elf(file.first(size / 2), uint64_t{1} << 30);
    } catch (const BadImage&) {
    }
    return 0;
}
