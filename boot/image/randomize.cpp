#include "boot/image/randomize.h"

#include <array>
#include <cstring>
#include <string>

#include "boot/image/bad_image.h"
#include "boot/image/elf.h"
#include "boot/image/little_endian.h"

namespace hull::boot {

namespace {

// The least alignment that the kernel's page tables allow (MIN_KERNEL_ALIGN in arch/x86/include/asm/boot.h).
constexpr uint64_t kStep = uint64_t{2} << 20;
// KERNEL_IMAGE_SIZE with CONFIG_RANDOMIZE_BASE, without which there are no relocations.
constexpr uint64_t kMapSize = uint64_t{1} << 30;
constexpr size_t kEntry = sizeof(uint32_t);

uint32_t entry_at(const std::byte* address) {
    uint32_t entry;
    std::memcpy(&entry, address, sizeof entry);
    return entry;
}

/// Steps over blocks of entries without a zero; by blocks, since the compiler makes vector instructions of
/// it.
size_t skip_nonzero(std::span<const std::byte> table, size_t index) {
    constexpr size_t kBlock = 32;
    for (; table.size() / kEntry - index >= kBlock; index += kBlock) {
        std::array<uint32_t, kBlock> block;
        std::memcpy(block.data(), table.data() + index * kEntry, sizeof block);
        uint32_t zeros = 0;
        for (const uint32_t entry : block) {
            zeros += entry == 0 ? 1 : 0;
        }
        if (zeros != 0) {
            break;
        }
    }
    return index;
}

/// Adds or subtracts `delta` at each of `entries`. One loop for all kinds: a kernel has some hundred thousand
/// entries.
template <typename Value, bool kInverse>
void apply_list(std::span<const std::byte> entries, std::span<std::byte> image, uint32_t first, Value delta) {
    if (entries.empty()) {
        return;
    }
    const size_t limit = image.size() < sizeof(Value) ? 0 : image.size() - sizeof(Value) + 1;
    for (const std::byte* at = entries.data(); at != entries.data() + entries.size(); at += kEntry) {
        // Addresses lie in the last 2 GiB, so that their low halves suffice; what lies below `first` wraps
        // and is found to be beyond the limit.
        const uint32_t offset = entry_at(at) - first;
        if (offset >= limit) [[unlikely]] {
            throw BadImage{"it has a relocation at " + hex(0xffff'ffff'0000'0000 | entry_at(at)) +
                               ", outside of the kernel",
                           "get the file again, or put nokaslr on the kernel's command line"};
        }
        Value value;
        std::memcpy(&value, image.data() + offset, sizeof value);
        const bool overflow = kInverse ? __builtin_sub_overflow(value, delta, &value)
                                       : __builtin_add_overflow(value, delta, &value);
        if (overflow) [[unlikely]] {
            throw BadImage{"its relocation at " + hex(0xffff'ffff'0000'0000 | entry_at(at)) + " overflows",
                           "get the file again, or put nokaslr on the kernel's command line"};
        }
        std::memcpy(image.data() + offset, &value, sizeof value);
    }
}

}  // namespace

std::optional<Relocations> find_relocations(std::span<const std::byte> table) {
    const size_t count = table.size() / kEntry;
    if (count < 2 || table.size() % kEntry != 0 || entry_at(table.data()) != 0) {
        return std::nullopt;
    }
    std::array<size_t, 3> zeros{};
    size_t found = 0;
    for (size_t index = 0; index < count; ++index) {
        index = skip_nonzero(table, index);
        if (index < count && entry_at(table.data() + index * kEntry) == 0) {
            if (found == zeros.size()) {
                return std::nullopt;
            }
            zeros[found++] = index;
        }
    }
    const auto list = [&](size_t zero, size_t end) {
        return table.subspan((zero + 1) * kEntry, (end - zero - 1) * kEntry);
    };
    switch (found) {
        case 2:
            return Relocations{list(zeros[1], count), {}, list(zeros[0], zeros[1])};
        case 3:
            return Relocations{list(zeros[2], count), list(zeros[1], zeros[2]), list(zeros[0], zeros[1])};
        default:
            return std::nullopt;
    }
}

void apply_relocations(const Relocations& relocations, std::span<std::byte> image, uint64_t link_address,
                       uint64_t virtual_offset) {
    const auto first = static_cast<uint32_t>(kKernelMap + link_address);
    const auto offset = static_cast<uint32_t>(virtual_offset);
    apply_list<uint32_t, false>(relocations.absolute32, image, first, offset);
    apply_list<int32_t, true>(relocations.inverse32, image, first, static_cast<int32_t>(offset));
    apply_list<uint64_t, false>(relocations.absolute64, image, first, offset);
}

RandomOffsets random_offsets(const GuestRange& extent, uint64_t used_end, uint64_t memory_end,
                             uint64_t entropy) {
    const auto choose = [](uint64_t end, uint64_t limit, uint64_t random) {
        const uint64_t places = limit > end ? (limit - end) / kStep + 1 : 1;
        return random % places * kStep;
    };
    // Two numbers of 32 bits for at most 2048 places each: even enough.
    return {choose(used_end, memory_end, entropy & 0xffff'ffff),
            choose(raw(extent.last()) + 1, kMapSize, entropy >> 32)};
}

}  // namespace hull::boot
