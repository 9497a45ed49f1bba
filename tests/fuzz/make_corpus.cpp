// Writes the first inputs of
// corpus/{decompress,lz4_block,elf,bzimage,relocations,block,virtio_mmio,virtio_pci,net}_fuzz, from which
// fuzzing found the others:
//   make_corpus FOLDER
// Built by hand when an input's layout changes: g++ -std=c++20 -I. tests/fuzz/make_corpus.cpp, with
// hull_boot and liblz4.
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/kernel_builder.h"

using namespace hull;

namespace {

std::filesystem::path folder;

void write(const char* target, const std::string& name, const test::Bytes& input) {
    std::filesystem::create_directories(folder / target);
    std::ofstream{folder / target / ("seed-" + name), std::ios::binary}.write(
        reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
}

void write_lz4_block() {
    for (const size_t size : {1U, 700U, 3000U, 100'000U}) {
        const auto data = test::pattern(size, 1);
        test::Bytes block = test::pack_lz4(data);
        block.erase(block.begin(), block.begin() + 8);  // the frame's magic and the block's size
        for (const int shift : {16, 8, 0}) {
            block.insert(block.begin(), static_cast<std::byte>(size >> shift));
        }
        write("lz4_block_fuzz", std::to_string(size), block);
    }
}

void write_decompress() {
    for (uint32_t compression = 0; compression < 6; ++compression) {
        for (const uint32_t size : {0U, 1U, 700U, 3000U}) {
            test::Bytes input;
            test::append(input, compression | size << 8);
            const auto packed =
                test::pack(static_cast<boot::Compression>(compression), test::pattern(size, 1));
            input.insert(input.end(), packed.begin(), packed.end());
            write("decompress_fuzz", std::to_string(compression) + "-" + std::to_string(size), input);
        }
    }
}

void write_bzimage() {
    for (uint8_t how = 0; how < 32; ++how) {
        // One change that changes nothing much, so that the layout of changes is there to be mutated.
        test::Bytes input{std::byte{how}};
        for (const std::string_view change :
             {std::string_view{"\0\x80\0\1\0", 5}, std::string_view{"\2\0\1\1\0", 5}}) {
            const test::Bytes bytes = test::bytes_of(change);
            input.insert(input.end(), bytes.begin(), bytes.end());
        }
        write("bzimage_fuzz", std::to_string(how), input);
    }
    test::Bytes input{std::byte{32}};
    const test::Bytes file = test::build_bzimage(test::payload_of(boot::Compression::xz, test::build_elf()));
    input.insert(input.end(), file.begin(), file.end());
    write("bzimage_fuzz", "file", input);
}

void write_elf() {
    const test::Bytes elf = test::build_elf({.pvh = true});
    write("elf_fuzz", "linux", elf);
    // The same headers in a file of few bytes, which mutates faster.
    test::Bytes small(elf.begin(), elf.begin() + 0x400);
    for (size_t index = 0; index < 5; ++index) {
        const size_t header = test::program_header_at(index);
        test::poke(small, header + offsetof(Elf64_Phdr, p_offset), uint64_t{0x200 + index * 0x40});
        test::poke(small, header + offsetof(Elf64_Phdr, p_filesz), uint64_t{0x40});
    }
    write("elf_fuzz", "small", small);
    write("elf_fuzz", "notes", test::pvh_notes());
}

void write_relocations() {
    for (const bool has_inverse : {true, false}) {
        test::Bytes input;
        test::append(input, uint32_t{0x1000'0007});
        std::vector<uint32_t> many(40);
        for (uint32_t index = 0; index < many.size(); ++index) {
            many[index] = index * 12;
        }
        const auto table = test::relocation_table(many, {0x800, 0x804}, {0x900, 0xff8}, has_inverse);
        input.insert(input.end(), table.begin(), table.end());
        write("relocations_fuzz", has_inverse ? "three-lists" : "two-lists", input);
    }
}

/// What the driver of block_fuzz.cpp does: every type of request, one after the other, directly and by
/// tables.
void write_block() {
    for (const uint8_t shape : {uint8_t{1}, uint8_t{9}}) {
        test::Bytes input{std::byte{3}};
        for (uint8_t type = 0; type < 8; ++type) {
            for (const uint8_t value : {uint8_t{0}, type, uint8_t{2}, shape, uint8_t{3}}) {
                input.push_back(std::byte{value});
            }
        }
        write("block_fuzz", shape == 1 ? "direct" : "by-tables", input);
    }
}

/// A driver that starts a device and has two requests served, directly and by a table, with a reset between.
void write_virtio_mmio() {
    test::Bytes input;
    for (const uint8_t indirect : {uint8_t{0}, uint8_t{1}}) {
        for (const uint8_t value : {uint8_t{3}, uint8_t{3}, uint8_t{4}, uint8_t{1}, indirect, uint8_t{7},
                                    uint8_t{6}, uint8_t{2}, uint8_t{0}}) {
            input.push_back(std::byte{value});
        }
    }
    write("virtio_mmio_fuzz", "served", input);
}

/// A driver that gives a vector a message, starts a device and has a request served.
void write_virtio_pci() {
    test::Bytes input;
    for (const uint8_t value : {5, 0, 0x80, 4, 1, 0, 0, 0xe0, 0xfe, 0x31, 0, 0, 0, 0, 6, 0, 7, 0, 9}) {
        input.push_back(std::byte{value});
    }
    write("virtio_pci_fuzz", "served", input);
}

/// A frame that the guest receives, and one that it sends.
void write_net() {
    test::Bytes input;
    for (const uint8_t value : {1, 0, 0, 0, 2, 0, 0, 0, 2, 0x30, 0, 3, 0x84, 0x40, 0, 2, 0, 0x10, 4, 5}) {
        input.push_back(std::byte{value});
    }
    write("net_fuzz", "served", input);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        return 2;
    }
    folder = argv[1];
    write_decompress();
    write_lz4_block();
    write_bzimage();
    write_elf();
    write_relocations();
    write_block();
    write_virtio_mmio();
    write_virtio_pci();
    write_net();
    return 0;
}
