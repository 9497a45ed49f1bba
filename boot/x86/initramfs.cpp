#include "boot/x86/initramfs.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "boot/x86/layout.h"

namespace hull::boot::x86 {

namespace {

constexpr uint64_t kPageSize = 4096;
/// More than any address space has; twice of it still fits into 64 bits.
constexpr uint64_t kTooLarge = uint64_t{1} << 62;
/// A CPIO archive starts at a multiple of this (Linux,
/// Documentation/driver-api/early-userspace/buffer-format.rst).
constexpr uint64_t kArchiveAlignment = 4;

std::string kib(uint64_t bytes) {
    return std::to_string((bytes + 1023) / 1024) + " KiB";
}

std::string names(const std::vector<InputFile>& files) {
    std::string all;
    for (const InputFile& file : files) {
        all += (all.empty() ? "'" : " + '") + file.path.string() + "'";
    }
    return all;
}

uint64_t padded(uint64_t size) {
    return (size + kArchiveAlignment - 1) / kArchiveAlignment * kArchiveAlignment;
}

uint64_t joined_size(const std::vector<InputFile>& files) {
    uint64_t total = 0;
    for (const InputFile& file : files) {
        // No file is larger than 2^63 - 1, so that the sum does not wrap before it is cut off.
        total = std::min(total + padded(file.size), kTooLarge);
    }
    return total;
}

/// The highest page-aligned range of `size` bytes within [floor, end).
std::optional<GuestRange> place_below(uint64_t end, uint64_t size, uint64_t floor) {
    if (end < floor || end - floor < size) {
        return std::nullopt;
    }
    const uint64_t start = (end - size) / kPageSize * kPageSize;
    return start < floor ? std::nullopt : GuestRange::make(GuestAddress{start}, size);
}

}  // namespace

uint64_t initramfs_room(const std::vector<InputFile>& files) {
    return (joined_size(files) + kPageSize - 1) / kPageSize * kPageSize;
}

std::optional<GuestRange> load_initramfs(const std::vector<InputFile>& files, const LoadedKernel& kernel,
                                         GuestMemory& memory) {
    if (files.empty()) {
        return std::nullopt;
    }
    const uint64_t memory_end = memory.regions().front().range.size();
    const uint64_t end = kernel.initramfs_limit < memory_end ? kernel.initramfs_limit + 1 : memory_end;
    const uint64_t size = joined_size(files);
    const uint64_t kernel_start = raw(kernel.occupied.start());
    auto place = place_below(end, size, raw(kernel.occupied.last()) + 1);
    if (!place) {
        place = place_below(std::min(kernel_start, end), size, layout::kOneMiB);
    }
    if (!place) {
        const bool kernel_limits = end < memory_end;
        throw Error{ExitStatus::no_resources,
                    "cannot place initramfs " + names(files) + " (" + kib(size) + ") in guest memory",
                    "the kernel occupies " + kib(kernel.occupied.size()) + " from " + kib(kernel_start) +
                        " on, and " + (kernel_limits ? "it takes an initramfs below " : "memory ends at ") +
                        kib(end),
                    kernel_limits ? "make the initramfs smaller"
                                  : "give the guest more memory (--memory) or make the initramfs smaller"};
    }
    std::byte* target = memory.slice(*place).value().data();
    for (const InputFile& file : files) {
        read_exactly(file, "initramfs", 0, target, file.size);
        target += padded(file.size);
    }
    return place;
}

}  // namespace hull::boot::x86
