#include "devices/block/overlay.h"

#include <algorithm>
#include <new>
#include <utility>

#include "devices/virtio/segments.h"

namespace hull::virtio {

namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kBits = 64;

/// A word's bits from `first` on, `count` of them, all within it.
uint64_t mask_of(uint64_t first, uint64_t count) {
    const uint64_t ones = count == kBits ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    return ones << first;
}

}  // namespace

OverlayMap::OverlayMap(uint64_t sectors)
    // Fresh zeros of the kernel's for all but small disks, which is what keeps it from taking memory at once.
    : words_{static_cast<Word*>(std::calloc(sectors / kBits + 1, sizeof(Word)))} {
    static_assert(sizeof(Word) == sizeof(uint64_t) && Word::is_always_lock_free);
    if (words_ == nullptr) {
        throw std::bad_alloc{};
    }
}

bool OverlayMap::has(uint64_t sector) const {
    return (words_[sector / kBits].load(std::memory_order_acquire) >> sector % kBits & 1) != 0;
}

OverlayMap::Run OverlayMap::run(uint64_t first, uint64_t count) const {
    const bool in_layer = has(first);
    uint64_t sectors = 1;
    while (sectors < count && has(first + sectors) == in_layer) {
        ++sectors;
    }
    return {in_layer, sectors};
}

void OverlayMap::add(uint64_t first, uint64_t count) {
    while (count > 0) {
        const uint64_t part = std::min(count, kBits - first % kBits);
        words_[first / kBits].fetch_or(mask_of(first % kBits, part), std::memory_order_release);
        first += part;
        count -= part;
    }
}

OverlayBackend::OverlayBackend(std::unique_ptr<BlockBackend> files, OverlayMap& map, uint16_t queue_size)
    : LayeredBackend{std::move(files)}, map_{map}, slots_(queue_size) {}

void OverlayBackend::start(uint16_t number, const BlockOperation& operation) {
    Slot& slot = slots_[number];
    slot.operation = operation;
    slot.operation.file = kLayerFile;
    switch (operation.kind) {
        case BlockOperation::Kind::flush:
            ended_.push_back({number, 0});
            return;
        case BlockOperation::Kind::read: {
            // What is left of a read that ended early may begin within a sector.
            const uint64_t first = operation.offset / kSector;
            const uint64_t last = (operation.offset + operation.length - 1) / kSector;
            const auto [in_layer, sectors] = map_.run(first, last - first + 1);
            slot.operation.file = in_layer ? kLayerFile : 0;
            slot.operation.length =
                std::min(operation.length, (first + sectors) * kSector - operation.offset);
            slot.memory.clear();
            append_part(operation.memory, 0, slot.operation.length, slot.memory);
            slot.operation.memory = slot.memory;
            break;
        }
        case BlockOperation::Kind::discard:
            // What is below must not come back.
            slot.operation.kind = BlockOperation::Kind::unmap_zeroes;
            break;
        default:
            break;
    }
    files_->start(number, slot.operation);
}

bool OverlayBackend::wait(std::vector<End>& ends, std::chrono::nanoseconds most) {
    const size_t before = ends.size();
    const bool go_on = files_->wait(ends, ended_.empty() ? most : std::chrono::nanoseconds{0});
    for (const End& end : std::span{ends}.subspan(before)) {
        const BlockOperation& operation = slots_[end.slot].operation;
        if (end.result < 0 || operation.kind == BlockOperation::Kind::read) {
            continue;
        }
        const bool writes = operation.kind == BlockOperation::Kind::write;
        const uint64_t bytes = writes ? static_cast<uint64_t>(end.result) : operation.length;
        // A sector that was written in two steps counts from its last on.
        const uint64_t first = operation.offset / kSector;
        map_.add(first, (operation.offset + bytes) / kSector - first);
    }
    ends.insert(ends.end(), ended_.begin(), ended_.end());
    ended_.clear();
    return go_on;
}

}  // namespace hull::virtio
