#include "devices/block/bounce.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hull::virtio {

namespace {

constexpr size_t kPage = 4096;

/// Copies `size` bytes from the one to the other, or until one of them ends.
void copy(std::span<const iovec> segments, std::byte* memory, size_t size, bool into_memory) {
    for (const iovec& segment : segments) {
        const size_t part = std::min(size, segment.iov_len);
        into_memory ? std::memcpy(memory, segment.iov_base, part)
                    : std::memcpy(segment.iov_base, memory, part);
        memory += part;
        size -= part;
    }
}

}  // namespace

BounceBackend::BounceBackend(std::unique_ptr<BlockBackend> files, uint32_t alignment, uint32_t block_size,
                             uint16_t queue_size)
    : LayeredBackend{std::move(files)}, alignment_{alignment}, block_size_{block_size}, slots_(queue_size) {}

void BounceBackend::start(uint16_t number, const BlockOperation& operation) {
    const bool fits = std::ranges::all_of(operation.memory, [this](const iovec& segment) {
        return reinterpret_cast<uintptr_t>(segment.iov_base) % alignment_ == 0 &&
               segment.iov_len % block_size_ == 0;
    });
    if (fits) {
        files_->start(number, operation);
        return;
    }
    Slot& slot = slots_[number];
    BlockOperation aligned = operation;
    aligned.length = std::min(operation.length, kMostAtOnce);
    slot.memory.reset(
        static_cast<std::byte*>(std::aligned_alloc(kPage, (aligned.length + kPage - 1) / kPage * kPage)));
    if (slot.memory == nullptr) {
        failed_.push_back({number, -ENOMEM});
        return;
    }
    slot.target = {};
    if (operation.kind == BlockOperation::Kind::write) {
        copy(operation.memory, slot.memory.get(), aligned.length, true);
    } else {
        slot.target = operation.memory;
    }
    slot.segment = {slot.memory.get(), aligned.length};
    aligned.memory = std::span{&slot.segment, 1};
    files_->start(number, aligned);
}

bool BounceBackend::wait(std::vector<End>& ends, std::chrono::nanoseconds most) {
    const size_t before = ends.size();
    const bool go_on = files_->wait(ends, failed_.empty() ? most : std::chrono::nanoseconds{0});
    for (const End& end : std::span{ends}.subspan(before)) {
        Slot& slot = slots_[end.slot];
        if (slot.memory != nullptr && end.result > 0) {
            copy(slot.target, slot.memory.get(), static_cast<size_t>(end.result), false);
        }
        slot.memory.reset();
    }
    ends.insert(ends.end(), failed_.begin(), failed_.end());
    failed_.clear();
    return go_on;
}

}  // namespace hull::virtio
