#include "devices/block/joined.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "devices/virtio/segments.h"

namespace hull::virtio {

namespace {

bool is_transfer(BlockOperation::Kind kind) {
    return kind == BlockOperation::Kind::read || kind == BlockOperation::Kind::write;
}

}  // namespace

JoinedBackend::JoinedBackend(std::unique_ptr<BlockBackend> files, const PartitionTable& table,
                             uint16_t queue_size)
    : LayeredBackend{std::move(files)}, table_{table}, slots_(queue_size) {}

JoinedBackend::Piece JoinedBackend::piece(uint64_t offset, uint64_t length) const {
    const auto partitions = table_.partitions();
    const auto next = std::ranges::upper_bound(partitions, offset, {}, &PartitionTable::Partition::start);
    if (next != partitions.begin()) {
        const PartitionTable::Partition& before = *std::prev(next);
        if (const uint64_t within = offset - before.start; within < before.size) {
            return {static_cast<uint16_t>(std::prev(next) - partitions.begin()), within,
                    std::min(length, before.size - within)};
        }
    }
    const uint64_t end = next == partitions.end() ? table_.disk_size() : next->start;
    return {std::nullopt, offset, std::min(length, end - offset)};
}

void JoinedBackend::start(uint16_t number, const BlockOperation& operation) {
    Slot& slot = slots_[number];
    slot.rest = operation;
    if (operation.file != 0) {
        slot.rest.file = static_cast<uint16_t>(table_.partitions().size() - 1 + operation.file);
        files_->start(number, std::exchange(slot.rest, {}));
    } else if (is_transfer(operation.kind)) {
        start_transfer(number);
    } else {
        start_step(number);
    }
}

void JoinedBackend::start_transfer(uint16_t number) {
    Slot& slot = slots_[number];
    BlockOperation operation = std::exchange(slot.rest, {});
    const auto [partition, offset, length] = piece(operation.offset, operation.length);
    slot.memory.clear();
    append_part(operation.memory, 0, length, slot.memory);
    if (partition) {
        operation.file = *partition;
        operation.offset = offset;
        operation.length = length;
        operation.memory = slot.memory;
        files_->start(number, operation);
        return;
    }
    if (operation.kind == BlockOperation::Kind::write) {
        ended_.push_back({number, -EIO});
        return;
    }
    // There are less than 2 MiB between two partitions and behind the last, so that this fits a result.
    int32_t done = 0;
    for (const iovec& segment : slot.memory) {
        table_.read(offset + static_cast<uint64_t>(done),
                    {static_cast<std::byte*>(segment.iov_base), segment.iov_len});
        done += static_cast<int32_t>(segment.iov_len);
    }
    ended_.push_back({number, done});
}

void JoinedBackend::start_step(uint16_t number) {
    BlockOperation& rest = slots_[number].rest;
    BlockOperation step{.kind = rest.kind, .file = rest.file};
    if (rest.kind == BlockOperation::Kind::flush) {
        ++rest.file;
        rest.length = table_.partitions().size() - rest.file;  // how many are left
    } else {
        const auto [partition, offset, length] = piece(rest.offset, rest.length);
        if (!partition) {
            rest = {};
            ended_.push_back({number, -EIO});
            return;
        }
        step.file = *partition;
        step.offset = offset;
        step.length = length;
        rest.offset += length;
        rest.length -= length;
    }
    files_->start(number, step);
}

bool JoinedBackend::wait(std::vector<End>& ends, std::chrono::nanoseconds most) {
    const auto before = static_cast<ptrdiff_t>(ends.size());
    const bool go_on = files_->wait(ends, ended_.empty() ? most : std::chrono::nanoseconds{0});
    const auto goes_on = [this](const End& end) {
        if (end.result < 0 || slots_[end.slot].rest.length == 0) {
            return false;
        }
        start_step(end.slot);
        return true;
    };
    ends.erase(std::remove_if(ends.begin() + before, ends.end(), goes_on), ends.end());
    ends.insert(ends.end(), ended_.begin(), ended_.end());
    ended_.clear();
    return go_on;
}

}  // namespace hull::virtio
