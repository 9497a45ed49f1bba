// load_kernel() as a whole, on a good kernel with some bytes changed. Input: how the kernel is packed (1
// byte: the compression, or 6 not packed, 7 not understood; + 8 with relocations, + 16 they lack the inverse
// list, + 32 the rest of the input is the file as it is), then changes: in what (1 byte: 0 in the ELF file, 1
// in its relocations, 2 in the bzImage), where (2 bytes), how many bytes (1, up to 8), and the bytes.
#include <cstddef>
#include <cstdint>

#include "boot/image/kernel_image.h"
#include "boot/image/little_endian.h"
#include "tests/support/kernel_builder.h"

using namespace hull;
using namespace hull::boot;

namespace {

// Kept from input to input: it is what makes an input slow.
GuestMemory& memory() {
    static constexpr GuestRange kRam[] = {GuestRange::of(0, uint64_t{24} << 20)};
    static GuestMemory memory{kRam, Mapping::Pages::transparent};
    return memory;
}

void change(test::Bytes& bytes, uint8_t part, std::span<const std::byte> changes) {
    while (const auto size = read_at<uint8_t>(changes, 3)) {
        const size_t count = *size % 9;
        const auto values = part_of(changes, 4, count);
        if (!values) {
            return;
        }
        const uint16_t where = read_at<uint16_t>(changes, 1).value();
        if (std::to_integer<uint8_t>(changes[0]) % 3 == part && size_t{where} + count <= bytes.size()) {
            std::copy(values->begin(), values->end(), bytes.begin() + where);
        }
        changes = changes.subspan(4 + count);
    }
}

test::Bytes kernel_from(uint8_t how, std::span<const std::byte> changes) {
    if ((how & 32) != 0) {
        return {changes.begin(), changes.end()};
    }
    test::ElfOptions options{.pvh = (how & 7) == 6};
    if ((how & 8) != 0) {
        options.relocations = test::relocation_table({0x10, 0x100}, {0x20}, {0x30, 0x1a00}, (how & 16) == 0);
        change(options.relocations, 1, changes);
    }
    test::Bytes elf = test::build_elf(options);
    change(elf, 0, changes);
    if ((how & 7) == 6) {
        return elf;
    }
    test::Bytes file =
        test::build_bzimage((how & 7) == 7 ? test::bytes_of("\x89LZO as it were")
                                           : test::payload_of(static_cast<Compression>(how & 7), elf));
    change(file, 2, changes);
    return file;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) {
        return 0;
    }
    const test::Bytes file = kernel_from(data[0], std::as_bytes(std::span{data, size}).subspan(1));
    if (file.empty()) {
        return 0;
    }
    try {
        const LoadOptions options{.randomize = (data[0] & 64) == 0, .entropy = 0x1234'5678'9abc'def0};
        const LoadedKernel kernel = load_kernel(test::file_of(file), memory(), options);
        if (kernel.entry < kernel.occupied.start() || kernel.entry > kernel.occupied.last() ||
            !memory().slice(kernel.occupied)) {
            abort();
        }
    } catch (const Error&) {
    }
    return 0;
}
