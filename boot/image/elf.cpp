#include "boot/image/elf.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "boot/image/bad_image.h"
#include "boot/image/little_endian.h"

namespace hull::boot {

namespace {

// Linux has 5 program headers; a file with more than this is not a kernel.
constexpr unsigned kMostProgramHeaders = 64;
constexpr uint64_t kLowestAddress = 0x10'0000;
// The identity map under which a kernel starts ends here.
constexpr uint64_t kAddressLimit = uint64_t{1} << 32;
constexpr uint32_t kNotePhys32Entry = 18;

Elf64_Ehdr checked_header(std::span<const std::byte> start) {
    const auto ident = read_at<std::array<unsigned char, EI_NIDENT>>(start, 0);
    if (!ident || !is_elf(start)) {
        throw BadImage{"it is not a whole ELF file", "get the file again"};
    }
    if ((*ident)[EI_CLASS] == ELFCLASS32) {
        throw BadImage{"it is a 32-bit ELF file", "Hull starts 64-bit kernels only"};
    }
    if ((*ident)[EI_CLASS] != ELFCLASS64 || (*ident)[EI_DATA] == ELFDATANONE) {
        throw BadImage{"its ELF header is corrupted", "get the file again"};
    }
    if ((*ident)[EI_DATA] != ELFDATA2LSB) {
        throw BadImage{"it is a big-endian ELF file", "give a kernel for x86-64"};
    }
    const auto header = read_at<Elf64_Ehdr>(start, 0);
    if (!header) {
        throw BadImage{"its ELF header is cut off", "get the file again"};
    }
    if (header->e_machine != EM_X86_64) {
        throw BadImage{
            "it is an ELF file for another machine (e_machine " + std::to_string(header->e_machine) + ")",
            "give a kernel for x86-64"};
    }
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
        throw BadImage{"it is an ELF file but no executable (e_type " + std::to_string(header->e_type) + ")",
                       "give a kernel: a bzImage or a vmlinux"};
    }
    return *header;
}

ElfSegment checked_segment(const Elf64_Phdr& header, uint64_t file_size) {
    if (header.p_filesz > header.p_memsz) {
        throw BadImage{"a segment at " + hex(header.p_paddr) + " is larger in the file than in memory",
                       "get the file again"};
    }
    if (header.p_filesz > 0 &&
        (header.p_offset > file_size || file_size - header.p_offset < header.p_filesz)) {
        throw BadImage{"its segment at " + hex(header.p_paddr) + " reaches past the end of the file",
                       "the file is cut off; get it again"};
    }
    const auto memory = GuestRange::make(GuestAddress{header.p_paddr}, header.p_memsz);
    if (!memory || raw(memory->last()) >= kAddressLimit) {
        throw BadImage{"its segment at " + hex(header.p_paddr) +
                       " reaches past 4 GiB, where a kernel cannot start"};
    }
    if (header.p_paddr < kLowestAddress) {
        throw BadImage{"its segment at " + hex(header.p_paddr) +
                       " lies below 1 MiB, which is not for kernels"};
    }
    return {{header.p_filesz > 0 ? header.p_offset : 0, header.p_filesz}, *memory};
}

void check_order(const ElfSegment& before, const ElfSegment& after) {
    if (before.memory.last() >= after.memory.start()) {
        throw BadImage{"its segments overlap in memory or are not in order"};
    }
    if (before.file.size > 0 && after.file.size > 0 &&
        before.file.offset + before.file.size > after.file.offset) {
        throw BadImage{"its segments overlap in the file or are not in order"};
    }
}

/// The end of the headers' tables, which lie where the writer wanted; a table outside the file counts for
/// nothing.
uint64_t tables_end(const Elf64_Ehdr& header, uint64_t file_size) {
    const uint64_t program_headers = uint64_t{header.e_phnum} * header.e_phentsize;
    const uint64_t section_headers = uint64_t{header.e_shnum} * header.e_shentsize;
    uint64_t end = header.e_phoff + program_headers;  // was checked
    if (header.e_shoff <= file_size && section_headers <= file_size - header.e_shoff) {
        end = std::max(end, header.e_shoff + section_headers);
    }
    return end;
}

/// Notes are padded to 4 bytes. `size` is at most 2^32 - 1, so that this cannot overflow.
uint64_t padded(uint64_t size) {
    return (size + 3) & ~uint64_t{3};
}

}  // namespace

bool ElfImage::contains(GuestAddress address) const {
    return std::any_of(segments.begin(), segments.end(), [&](const ElfSegment& segment) {
        return address >= segment.memory.start() && address <= segment.memory.last();
    });
}

bool is_elf(std::span<const std::byte> file) {
    return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

ElfImage parse_elf(std::span<const std::byte> start, uint64_t file_size) {
    const Elf64_Ehdr header = checked_header(start);
    if (header.e_phnum == 0 || header.e_phnum > kMostProgramHeaders ||
        header.e_phentsize != sizeof(Elf64_Phdr)) {
        throw BadImage{"its ELF header tells of " + std::to_string(header.e_phnum) + " program headers of " +
                       std::to_string(header.e_phentsize) + " bytes, which no kernel has"};
    }
    const auto table = part_of(start, header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr));
    if (!table) {
        throw BadImage{"its program headers lie outside the file", "get the file again"};
    }
    ElfImage image;
    image.end = tables_end(header, file_size);
    for (size_t index = 0; index < header.e_phnum; ++index) {
        const Elf64_Phdr program = read_at<Elf64_Phdr>(*table, index * sizeof(Elf64_Phdr)).value();
        if (program.p_type == PT_LOAD && program.p_memsz > 0) {
            const ElfSegment segment = checked_segment(program, file_size);
            if (image.segments.empty()) {
                image.linux_map = program.p_vaddr == kKernelMap + program.p_paddr;
            } else {
                check_order(image.segments.back(), segment);
            }
            image.end = std::max(image.end, segment.file.offset + segment.file.size);
            image.segments.push_back(segment);
        } else if (program.p_type == PT_NOTE && program.p_offset <= file_size &&
                   program.p_filesz <= file_size - program.p_offset) {
            image.notes.push_back({program.p_offset, program.p_filesz});
        }
    }
    if (image.segments.empty()) {
        throw BadImage{"it has no segment to load", "give a kernel: a bzImage or a vmlinux"};
    }
    const GuestAddress first = image.segments.front().memory.start();
    const GuestAddress last = image.segments.back().memory.last();
    image.extent = GuestRange::make(first, raw(last) - raw(first) + 1).value();
    image.entry = GuestAddress{header.e_entry};
    if (!image.contains(image.entry)) {
        throw BadImage{"its entry " + hex(header.e_entry) + " lies in none of its segments"};
    }
    return image;
}

std::optional<GuestAddress> find_pvh_entry(std::span<const std::byte> notes) {
    constexpr std::string_view kName{"Xen\0", 4};
    uint64_t offset = 0;
    while (const auto note = read_at<Elf64_Nhdr>(notes, offset)) {
        const uint64_t name_at = offset + sizeof *note;
        const uint64_t value_at = name_at + padded(note->n_namesz);
        const auto name = part_of(notes, name_at, note->n_namesz);
        const auto value = part_of(notes, value_at, note->n_descsz);
        if (!name || !value) {
            return std::nullopt;
        }
        if (note->n_type == kNotePhys32Entry && name->size() == kName.size() &&
            std::memcmp(name->data(), kName.data(), kName.size()) == 0) {
            // Linux for x86-64 writes 8 bytes, others 4; the address is one of 32 bits in both.
            const auto entry = value->size() == 8   ? read_at<uint64_t>(*value, 0)
                               : value->size() == 4 ? std::optional<uint64_t>{read_at<uint32_t>(*value, 0)}
                                                    : std::nullopt;
            return entry && *entry < kAddressLimit ? std::optional{GuestAddress{*entry}} : std::nullopt;
        }
        offset = value_at + padded(note->n_descsz);
    }
    return std::nullopt;
}

void place_segments(const ElfImage& image, std::span<const std::byte> file, GuestMemory& memory,
                    uint64_t offset) {
    for (const ElfSegment& segment : image.segments) {
        const auto range =
            GuestRange::make(GuestAddress{raw(segment.memory.start()) + offset}, segment.memory.size());
        const auto target = range ? memory.slice(*range) : std::nullopt;
        if (!target) {
            throw BadImage{"it occupies memory from " + hex(raw(image.extent.start()) + offset) + " to " +
                               hex(raw(image.extent.last()) + offset) + ", which the guest does not have",
                           "give the guest more memory (--memory)", ExitStatus::no_resources};
        }
        const auto source = part_of(file, segment.file.offset, segment.file.size).value();
        if (source.data() != target->data()) {
            std::memmove(target->data(), source.data(), source.size());
        }
    }
}

}  // namespace hull::boot
