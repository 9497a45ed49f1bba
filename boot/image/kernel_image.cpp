#include "boot/image/kernel_image.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "base/mapping.h"
#include "boot/image/bad_image.h"
#include "boot/image/bzimage.h"
#include "boot/image/decompress.h"
#include "boot/image/elf.h"
#include "boot/image/little_endian.h"
#include "boot/image/randomize.h"

namespace hull::boot {

namespace {

using Bytes = std::span<const std::byte>;

constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kLowestAddress = 0x10'0000;
// No kernel comes near it; a file that says so is corrupted, and no memory is to be asked for because of it.
constexpr uint64_t kLargestUnpacked = uint64_t{1} << 30;
// Enough for the ELF header and the program headers, which Linux's linker script puts at the front.
constexpr size_t kHeadersRoom = 4096;
// Linux/x86 boot protocol, "64-bit Boot Protocol": where the 64-bit entry lies in the protected-mode part.
constexpr uint64_t kSelfUnpackingEntry = 0x200;

/// A compressed kernel inside a bzImage.
struct Payload {
    Compression compression;
    Bytes packed;
    uint64_t unpacked_size;
};

Payload understood_payload(const BzImage& image, Compression compression) {
    // The build appends the size to the compressed stream, but for gzip, which ends with it by itself.
    const size_t stream = image.payload.size() - (compression == Compression::gzip ? 0 : sizeof(uint32_t));
    const uint64_t size = read_at<uint32_t>(image.payload, image.payload.size() - sizeof(uint32_t)).value();
    if (size > kLargestUnpacked) {
        throw BadImage{"it says that it unpacks to " + std::to_string(size) + " bytes, which no kernel does",
                       "get the file again"};
    }
    return {compression, image.payload.first(stream), size};
}

[[noreturn]] void throw_too_little_memory(uint64_t start, uint64_t size) {
    throw BadImage{"it needs memory from " + hex(start) + " to " + hex(start + size - 1) +
                       ", which the guest does not have",
                   "give the guest more memory (--memory)", ExitStatus::no_resources};
}

std::span<std::byte> slice_or_throw(const GuestMemory& memory, uint64_t start, uint64_t size) {
    const auto range = GuestRange::make(GuestAddress{start}, size);
    const auto slice = range ? memory.slice(*range) : std::nullopt;
    if (!slice) {
        throw_too_little_memory(start, size);
    }
    return *slice;
}

uint64_t end_of(const GuestRange& range) {
    return raw(range.last()) + 1;
}

/// The end of the memory that a randomized kernel may use: it stays in the region it was linked for and
/// leaves room for the initramfs above.
uint64_t random_memory_end(const GuestMemory& memory, const ElfImage& image, const LoadOptions& options,
                           uint64_t initramfs_limit) {
    for (const GuestMemory::Region& region : memory.regions()) {
        if (region.range.contains(image.extent)) {
            const uint64_t end = std::min(end_of(region.range), initramfs_limit + 1);
            return end > options.initramfs_size ? end - options.initramfs_size : 0;
        }
    }
    return 0;
}

/// The lowest address at which the unpacked file can lie so that each segment's bytes lie at its place or
/// above: then the segments can be moved down one after the other. Linux's text and data lie right at once.
uint64_t unpacking_address(const ElfImage& image) {
    uint64_t address = kLowestAddress;
    for (const ElfSegment& segment : image.segments) {
        const uint64_t place = raw(segment.memory.start());
        if (segment.file.size > 0 && place > segment.file.offset) {
            address = std::max(address, place - segment.file.offset);
        }
    }
    return address;
}

/// Makes zeros again of [start, end), which unpacking has written. Whole huge pages go back to the host, so
/// that unpacking leaves the guest no larger; parts of one are cleared, since giving them back would break it
/// up. With `fresh_behind` a page that the range only begins to fill is whole, since nothing has touched the
/// rest of it.
void clear(GuestMemory& memory, uint64_t start, uint64_t end, bool fresh_behind) {
    for (uint64_t done = start; done < end;) {
        const std::span<std::byte> rest = slice_or_throw(memory, done, end - done);
        const uint64_t into_page = reinterpret_cast<uintptr_t>(rest.data()) % kHugePage;
        const uint64_t size = std::min<uint64_t>(rest.size(), kHugePage - into_page);
        const auto page = GuestRange::make(GuestAddress{done}, kHugePage);
        const bool whole = into_page == 0 && (size == kHugePage || fresh_behind);
        if (!whole || !memory.discard(*page)) {
            std::memset(rest.data(), 0, size);
        }
        done += size;
    }
}

/// Clears what unpacking to [start, end) has left where zeros must be: in the segments' bss, and outside of
/// the kernel.
void clear_leftovers(const ElfImage& image, GuestMemory& memory, uint64_t offset, uint64_t start,
                     uint64_t end) {
    clear(memory, start, std::min(end, raw(image.extent.start()) + offset), false);
    for (const ElfSegment& segment : image.segments) {
        const bool last = &segment == &image.segments.back();
        const uint64_t place = raw(segment.memory.start()) + offset;
        const uint64_t bss = std::max(start, place + segment.file.size);
        clear(memory, bss, last ? end : std::min(end, place + segment.memory.size()), last);
    }
}

LoadedKernel loaded(const ElfImage& image, const RandomOffsets& offsets) {
    LoadedKernel kernel;
    const auto moved = [&](GuestAddress address) {
        return GuestAddress{raw(address) + offsets.physical_offset};
    };
    kernel.entry = moved(image.entry);
    kernel.occupied = GuestRange::make(moved(image.extent.start()), image.extent.size()).value();
    return kernel;
}

void relocate(const ElfImage& image, const Relocations& relocations, const GuestMemory& memory,
              const RandomOffsets& offsets) {
    const uint64_t linked = raw(image.extent.start());
    apply_relocations(relocations,
                      slice_or_throw(memory, linked + offsets.physical_offset, image.extent.size()), linked,
                      offsets.virtual_offset);
}

std::optional<GuestAddress> pvh_entry(const ElfImage& image, Bytes file) {
    for (const FilePart& notes : image.notes) {
        if (const auto entry = find_pvh_entry(file.subspan(notes.offset, notes.size))) {
            return entry;
        }
    }
    return std::nullopt;
}

LoadedKernel load_elf(Bytes file, GuestMemory& memory, const LoadOptions& options) {
    const ElfImage image = parse_elf(file, file.size());
    std::optional<Relocations> relocations;
    RandomOffsets offsets;
    if (options.randomize && image.linux_map) {
        relocations = find_relocations(file.subspan(image.end));
    }
    if (relocations) {
        const uint64_t memory_end = random_memory_end(memory, image, options, LoadedKernel{}.initramfs_limit);
        offsets = random_offsets(image.extent, end_of(image.extent), memory_end, options.entropy);
    }
    place_segments(image, file, memory, offsets.physical_offset);
    LoadedKernel kernel = loaded(image, offsets);
    if (relocations) {
        relocate(image, *relocations, memory, offsets);
        kernel.randomized = true;
    } else if (const auto entry = options.allow_pvh ? pvh_entry(image, file) : std::nullopt) {
        // Linux's PVH entry of before 6.12 runs only where it was linked; so not when moved.
        if (!image.contains(*entry)) {
            throw BadImage{"its PVH entry " + hex(raw(*entry)) + " lies in none of its segments"};
        }
        kernel.protocol = EntryProtocol::pvh;
        kernel.entry = *entry;
    }
    return kernel;
}

/// Unpacks into guest memory, where most of the kernel then lies right: no second copy of it is made.
LoadedKernel load_unpacked(const BzImage& file, const Payload& payload, GuestMemory& memory,
                           const LoadOptions& options, uint64_t initramfs_limit) {
    std::vector<std::byte> headers(std::min<uint64_t>(kHeadersRoom, payload.unpacked_size));
    headers.resize(unpack_start(payload.compression, payload.packed, headers));
    const ElfImage image = parse_elf(headers, payload.unpacked_size);

    uint64_t start = unpacking_address(image);
    RandomOffsets offsets;
    const bool may_move = options.randomize && file.header.relocatable_kernel != 0 && image.linux_map &&
                          image.end < payload.unpacked_size;
    if (may_move) {
        const uint64_t used_end = std::max(end_of(image.extent), start + payload.unpacked_size);
        offsets = random_offsets(image.extent, used_end,
                                 random_memory_end(memory, image, options, initramfs_limit), options.entropy);
        start += offsets.physical_offset;
    }
    const std::span<std::byte> unpacked = slice_or_throw(memory, start, payload.unpacked_size);
    unpack(payload.compression, payload.packed, unpacked);

    const auto relocations =
        may_move ? find_relocations(unpacked.subspan(image.end)) : std::optional<Relocations>{};
    if (!relocations) {
        offsets = {};  // what looked like relocations is something else: go down to where it was linked for
    }
    place_segments(image, unpacked, memory, offsets.physical_offset);
    if (relocations) {
        relocate(image, *relocations, memory, offsets);
    }
    clear_leftovers(image, memory, offsets.physical_offset, start, start + payload.unpacked_size);
    LoadedKernel kernel = loaded(image, offsets);
    kernel.randomized = relocations.has_value();
    return kernel;
}

LoadedKernel load_self_unpacking(const BzImage& image, GuestMemory& memory) {
    const uint64_t address = self_unpacking_address(image);
    const uint64_t size = std::max<uint64_t>(image.header.init_size, image.protected_mode.size());
    const std::span<std::byte> target = slice_or_throw(memory, address, size);
    std::memcpy(target.data(), image.protected_mode.data(), image.protected_mode.size());
    LoadedKernel kernel;
    kernel.entry = GuestAddress{address + kSelfUnpackingEntry};
    kernel.occupied = GuestRange::make(GuestAddress{address}, size).value();
    return kernel;
}

LoadedKernel load_bzimage(Bytes file, GuestMemory& memory, const LoadOptions& options) {
    const BzImage image = parse_bzimage(file);
    const uint64_t initramfs_limit = (image.header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) != 0
                                         ? LoadedKernel{}.initramfs_limit
                                         : image.header.initrd_addr_max;
    const auto compression = compression_of(image.payload);
    LoadedKernel kernel = compression ? load_unpacked(image, understood_payload(image, *compression), memory,
                                                      options, initramfs_limit)
                                      : load_self_unpacking(image, memory);
    kernel.setup_header.assign(image.raw_header.begin(), image.raw_header.end());
    kernel.cmdline_limit = image.header.cmdline_size;
    kernel.initramfs_limit = initramfs_limit;
    return kernel;
}

/// What a file that is no kernel for this machine seems to be, as a clause.
BadImage unknown_file(Bytes file) {
    using namespace std::string_view_literals;
    const std::string_view start{reinterpret_cast<const char*>(file.data()),
                                 std::min<size_t>(file.size(), 512)};
    const auto has = [&](size_t offset, std::string_view mark) {
        return start.size() >= offset && start.substr(offset).starts_with(mark);
    };
    const std::string kernels = "give a bzImage (vmlinuz) or a vmlinux for x86-64";
    if (has(0x38, "ARM\x64"sv)) {
        return BadImage{"it is a kernel for arm64", kernels};
    }
    if (has(0x38, "RSC\x05"sv)) {
        return BadImage{"it is a kernel for RISC-V", kernels};
    }
    if (has(4, "zimg"sv)) {
        return BadImage{"it is a compressed EFI program (zboot)", kernels};
    }
    if (has(0, "MZ"sv)) {
        return BadImage{"it is an EFI or Windows program", kernels};
    }
    if (has(0, "#!"sv)) {
        return BadImage{"it is a script", kernels};
    }
    if (has(0, "07070"sv)) {
        return BadImage{"it is a cpio archive", "is it the initramfs? Give that with --initramfs"};
    }
    if (has(0, "!<arch>\n"sv)) {
        return BadImage{"it is a package or library", "unpack it and give the kernel in it"};
    }
    if (const auto compression = compression_of(file)) {
        return BadImage{"it is compressed by " + std::string{name_of(*compression)} + " as a whole",
                        "unpack it first, or is it the initramfs?"};
    }
    return BadImage{"it is no Linux kernel: neither a bzImage nor an ELF file", kernels};
}

LoadedKernel load(Bytes file, GuestMemory& memory, const LoadOptions& options) {
    if (is_elf(file)) {
        return load_elf(file, memory, options);
    }
    if (is_bzimage(file)) {
        return load_bzimage(file, memory, options);
    }
    throw unknown_file(file);
}

}  // namespace

LoadedKernel load_kernel(const InputFile& file, GuestMemory& memory, const LoadOptions& options) {
    const Mapping mapping = Mapping::of_file(file, "kernel");
    try {
        return load(mapping.bytes(), memory, options);
    } catch (const BadImage& bad) {
        throw Error{bad.status(), "cannot load kernel '" + file.path.string() + "'", bad.what(),
                    bad.advice()};
    }
}

}  // namespace hull::boot
