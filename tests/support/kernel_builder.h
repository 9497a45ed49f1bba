// Small synthetic kernels, shaped as Linux's build shapes them, for tests and fuzzing to break.
#pragma once

#include <bzlib.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "boot/image/bzimage.h"
#include "boot/image/decompress.h"

namespace hull::test {

using Bytes = std::vector<std::byte>;

/// Writes a value over the bytes at `offset`, which must be there.
template <typename T>
void poke(Bytes& bytes, size_t offset, const T& value) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof value) {
        throw std::out_of_range{"poke"};
    }
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

template <typename T>
void append(Bytes& bytes, const T& value) {
    const auto* start = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), start, start + sizeof value);
}

inline Bytes bytes_of(std::string_view text) {
    const auto* start = reinterpret_cast<const std::byte*>(text.data());
    return {start, start + text.size()};
}

/// Bytes that compress somewhat and differ by `seed`; none is zero.
inline Bytes pattern(size_t size, uint32_t seed) {
    Bytes bytes(size);
    uint32_t state = seed * 2654435761U + 1;
    for (size_t index = 0; index < size; ++index) {
        state = state * 1664525U + 1013904223U;
        bytes[index] =
            index % 7 < 4 && index > 64 ? bytes[index - 61] : static_cast<std::byte>(state >> 24 | 1);
    }
    return bytes;
}

// An ELF kernel of four segments as Linux's: text and data, whose place in the file and in memory differ by
// the same, per-CPU data with a virtual address of its own, and initialization with the bss.
inline constexpr uint64_t kLinkAddress = 0x100'0000;
inline constexpr uint64_t kVirtualBase = 0xffff'ffff'8000'0000;

struct BuiltSegment {
    uint64_t file_offset;
    uint64_t address;
    uint64_t virtual_address;
    uint64_t file_size;
    uint64_t memory_size;
};

inline constexpr BuiltSegment kSegments[] = {
    {0x400, kLinkAddress, kVirtualBase + kLinkAddress, 0xc00, 0xc00},
    {0x1400, kLinkAddress + 0x1000, kVirtualBase + kLinkAddress + 0x1000, 0x800, 0x800},
    {0x2000, kLinkAddress + 0x1800, 0, 0x200, 0x200},
    {0x2400, kLinkAddress + 0x1a00, kVirtualBase + kLinkAddress + 0x1a00, 0x600, 0x5600},
};
inline constexpr uint64_t kExtent = 0x1a00 + 0x5600;
inline constexpr uint64_t kNotesOffset = 0x2a00;
inline constexpr uint64_t kSectionsOffset = 0x2b00;
inline constexpr uint64_t kElfEnd = kSectionsOffset + 4 * sizeof(Elf64_Shdr);

/// One ELF note with its padding.
inline void append_note(Bytes& notes, std::string_view name, uint32_t type, const Bytes& value) {
    append(notes, Elf64_Nhdr{static_cast<uint32_t>(name.size()), static_cast<uint32_t>(value.size()), type});
    for (const Bytes& part : {bytes_of(name), value}) {
        notes.insert(notes.end(), part.begin(), part.end());
        notes.resize((notes.size() + 3) & ~size_t{3});
    }
}

inline Bytes pvh_notes(uint64_t entry = kLinkAddress + 0x80) {
    Bytes notes;
    append_note(notes, std::string_view{"GNU\0", 4}, 3, Bytes(20, std::byte{7}));
    append_note(notes, std::string_view{"Xen\0", 4}, 6, bytes_of(std::string_view{"linux\0", 6}));
    Bytes value;
    append(value, entry);
    append_note(notes, std::string_view{"Xen\0", 4}, 18, value);
    return notes;
}

struct ElfOptions {
    bool pvh = false;
    Bytes relocations{};  ///< appended behind the ELF file
};

/// The offset of program header `index` in a built ELF.
inline constexpr size_t program_header_at(size_t index) {
    return sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr);
}

inline Bytes build_elf(const ElfOptions& options = {}) {
    Bytes file(kElfEnd);
    const Bytes notes = options.pvh ? pvh_notes() : Bytes{};
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = kLinkAddress + 0x40;
    header.e_phoff = sizeof header;
    header.e_shoff = kSectionsOffset;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = static_cast<uint16_t>(std::size(kSegments) + 1);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 4;
    poke(file, 0, header);
    for (size_t index = 0; index < std::size(kSegments); ++index) {
        const BuiltSegment& segment = kSegments[index];
        poke(file, program_header_at(index),
             Elf64_Phdr{PT_LOAD, PF_R | PF_X, segment.file_offset, segment.virtual_address, segment.address,
                        segment.file_size, segment.memory_size, 0x200000});
        const Bytes content = pattern(segment.file_size, static_cast<uint32_t>(index));
        std::copy(content.begin(), content.end(), file.begin() + static_cast<ptrdiff_t>(segment.file_offset));
    }
    poke(file, program_header_at(std::size(kSegments)),
         Elf64_Phdr{PT_NOTE, PF_R, kNotesOffset, 0, 0, notes.size(), notes.size(), 4});
    std::copy(notes.begin(), notes.end(), file.begin() + kNotesOffset);
    file.insert(file.end(), options.relocations.begin(), options.relocations.end());
    return file;
}

/// The table of relocations as the kernel's build writes it. Entries are offsets into the kernel.
inline Bytes relocation_table(const std::vector<uint32_t>& absolute32, const std::vector<uint32_t>& inverse32,
                              const std::vector<uint32_t>& absolute64, bool has_inverse = true) {
    Bytes table;
    const auto append_list = [&](const std::vector<uint32_t>& offsets) {
        append(table, uint32_t{0});
        for (const uint32_t offset : offsets) {
            append(table, static_cast<uint32_t>(kVirtualBase + kLinkAddress + offset));
        }
    };
    append_list(absolute64);
    if (has_inverse) {
        append_list(inverse32);
    }
    append_list(absolute32);
    return table;
}

// Compression, as Linux's scripts/Makefile.lib does it but at levels that are quick.

inline Bytes pack_gzip(std::span<const std::byte> data) {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
    Bytes packed(deflateBound(&stream, data.size()) + 64);
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
}

inline Bytes pack_bzip2(std::span<const std::byte> data) {
    Bytes packed(data.size() + data.size() / 50 + 1024);
    auto size = static_cast<unsigned>(packed.size());
    BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(packed.data()), &size,
                             const_cast<char*>(reinterpret_cast<const char*>(data.data())),
                             static_cast<unsigned>(data.size()), 1, 0, 0);
    packed.resize(size);
    return packed;
}

inline Bytes pack_lzma(std::span<const std::byte> data, boot::Compression compression) {
    lzma_options_lzma options;
    if (lzma_lzma_preset(&options, 0) != 0) {
        throw std::runtime_error{"lzma_lzma_preset"};
    }
    lzma_filter filters[] = {
        {LZMA_FILTER_X86, nullptr}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
    lzma_stream stream = LZMA_STREAM_INIT;
    if (compression == boot::Compression::xz) {
        if (lzma_stream_encoder(&stream, filters, LZMA_CHECK_CRC32) != LZMA_OK) {
            throw std::runtime_error{"lzma_stream_encoder"};
        }
    } else if (lzma_alone_encoder(&stream, &options) != LZMA_OK) {
        throw std::runtime_error{"lzma_alone_encoder"};
    }
    Bytes packed(data.size() + data.size() / 2 + 4096);
    stream.next_in = reinterpret_cast<const uint8_t*>(data.data());
    stream.avail_in = data.size();
    stream.next_out = reinterpret_cast<uint8_t*>(packed.data());
    stream.avail_out = packed.size();
    if (lzma_code(&stream, LZMA_FINISH) != LZMA_STREAM_END) {
        throw std::runtime_error{"lzma_code"};
    }
    packed.resize(stream.total_out);
    lzma_end(&stream);
    return packed;
}

inline Bytes pack_lz4(std::span<const std::byte> data, size_t block_size = size_t{8} << 20) {
    Bytes packed;
    append(packed, uint32_t{0x184c2102});
    while (!data.empty()) {
        const auto block = data.first(std::min(block_size, data.size()));
        Bytes target(static_cast<size_t>(LZ4_compressBound(static_cast<int>(block.size()))));
        const int size = LZ4_compress_default(
            reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(target.data()),
            static_cast<int>(block.size()), static_cast<int>(target.size()));
        append(packed, static_cast<uint32_t>(size));
        packed.insert(packed.end(), target.begin(), target.begin() + size);
        data = data.subspan(block.size());
    }
    return packed;
}

/// As `zstd -22 --ultra` writes from a pipe: no size in the frame, a checksum, a window of 2^window_log
/// bytes.
inline Bytes pack_zstd(std::span<const std::byte> data, int window_log = 27) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    Bytes packed(ZSTD_compressBound(data.size()) + 64);
    ZSTD_inBuffer input{data.data(), data.size(), 0};
    ZSTD_outBuffer output{packed.data(), packed.size(), 0};
    // In two steps, or the library would shrink the window to the data's size.
    ZSTD_compressStream2(context, &output, &input, ZSTD_e_continue);
    ZSTD_compressStream2(context, &output, &input, ZSTD_e_end);
    packed.resize(output.pos);
    ZSTD_freeCCtx(context);
    return packed;
}

inline Bytes pack(boot::Compression compression, std::span<const std::byte> data) {
    switch (compression) {
        case boot::Compression::gzip:
            return pack_gzip(data);
        case boot::Compression::bzip2:
            return pack_bzip2(data);
        case boot::Compression::lzma:
        case boot::Compression::xz:
            return pack_lzma(data, compression);
        case boot::Compression::lz4:
            return pack_lz4(data);
        case boot::Compression::zstd:
            return pack_zstd(data, 17);
    }
    return {};
}

/// A payload as it stands in a bzImage: the compressed kernel and, but for gzip, its size.
inline Bytes payload_of(boot::Compression compression, std::span<const std::byte> elf) {
    Bytes payload = pack(compression, elf);
    if (compression != boot::Compression::gzip) {
        append(payload, static_cast<uint32_t>(elf.size()));
    }
    return payload;
}

/// The offset of a field of the setup header in a bzImage.
inline constexpr size_t setup_field(size_t offset_in_header) {
    return boot::kSetupHeaderOffset + offset_in_header;
}

inline constexpr size_t kSetupSize = size_t{2} * 512;
inline constexpr size_t kPayloadOffset = 0x240;  // in the protected-mode part

inline Bytes build_bzimage(const Bytes& payload) {
    Bytes file(kSetupSize + kPayloadOffset, std::byte{0});
    setup_header header{};
    header.setup_sects = kSetupSize / 512 - 1;
    header.boot_flag = 0xaa55;
    header.jump = static_cast<uint16_t>(0xeb | (sizeof(setup_header) - 0x11) << 8);
    header.header = 0x53726448;
    header.version = 0x020f;
    header.loadflags = LOADED_HIGH;
    header.initrd_addr_max = 0x7fff'ffff;
    header.kernel_alignment = 0x200000;
    header.relocatable_kernel = 1;
    header.min_alignment = 21;
    header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
    header.cmdline_size = 2047;
    header.payload_offset = kPayloadOffset;
    header.payload_length = static_cast<uint32_t>(payload.size());
    header.pref_address = kLinkAddress;
    header.init_size = 0x10000;
    poke(file, boot::kSetupHeaderOffset, header);
    poke(file, 0x1fe, uint16_t{0xaa55});
    const Bytes code = pattern(kPayloadOffset, 99);
    std::copy(code.begin(), code.end(), file.begin() + kSetupSize);
    file.insert(file.end(), payload.begin(), payload.end());
    file.resize((file.size() + 15) & ~size_t{15});
    poke(file, setup_field(offsetof(setup_header, syssize)),
         static_cast<uint32_t>((file.size() - kSetupSize) / 16));
    return file;
}

/// A file without a name that holds `bytes`.
inline InputFile file_of(std::span<const std::byte> bytes) {
    UniqueFd fd{memfd_create("kernel", MFD_CLOEXEC)};
    if (write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
        throw std::runtime_error{"memfd"};
    }
    return {std::move(fd), bytes.size(), "test-kernel"};
}

}  // namespace hull::test
