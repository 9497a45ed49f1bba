#include "boot/x86/entry.h"

#include <span>
#include <utility>

namespace hull::boot::x86 {

namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kLargePageSize = uint64_t{2} << 20;
constexpr uint64_t kEntries = kPageSize / sizeof(uint64_t);
constexpr uint64_t kPresentWritable = 0x3;
constexpr uint64_t kLargePage = 0x80;

std::vector<std::byte> to_bytes(const std::vector<uint64_t>& values) {
    const auto view = std::as_bytes(std::span{values});
    return {view.begin(), view.end()};
}

uint64_t divide_up(uint64_t value, uint64_t by) {
    return (value + by - 1) / by;
}

}  // namespace

std::vector<std::byte> descriptor_table(EntryState::Mode mode) {
    constexpr uint64_t kCode64 = 0x00af'9b00'0000'ffff;
    constexpr uint64_t kCode32 = 0x00cf'9b00'0000'ffff;
    constexpr uint64_t kData = 0x00cf'9300'0000'ffff;
    constexpr uint64_t kBusyTask = 0x0000'8b00'0000'0067;
    const uint64_t code = mode == EntryState::Mode::long_mode ? kCode64 : kCode32;
    // In long mode a task's descriptor has a second half, the upper bits of its address.
    return to_bytes({0, 0, code, kData, kBusyTask, 0});
}

std::vector<std::byte> identity_map(GuestAddress base, uint64_t end) {
    const uint64_t large_pages = divide_up(end, kLargePageSize);
    const uint64_t directories = divide_up(large_pages, kEntries);
    std::vector<uint64_t> tables((2 + directories) * kEntries);
    tables[0] = (raw(base) + kPageSize) | kPresentWritable;
    for (uint64_t i = 0; i < directories; ++i) {
        tables[kEntries + i] = (raw(base) + (2 + i) * kPageSize) | kPresentWritable;
    }
    for (uint64_t i = 0; i < large_pages; ++i) {
        tables[2 * kEntries + i] = (i * kLargePageSize) | kPresentWritable | kLargePage;
    }
    return to_bytes(tables);
}

}  // namespace hull::boot::x86
