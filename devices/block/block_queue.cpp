#include "devices/block/block_queue.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/unique_fd.h"

namespace hull::virtio {

namespace {

/// So often a worker looks for more before it sees to what has ended and whether it is to stop: a driver that
/// never lets its queue run empty must not keep it from that.
constexpr int kMostLooks = 4;

bool is_write(BlockOperation::Kind kind) {
    return kind != BlockOperation::Kind::read && kind != BlockOperation::Kind::flush;
}

}  // namespace

WakePolicy::WakePolicy(bool may_choose) : may_choose_{may_choose && sched_getscheduler(0) == SCHED_OTHER} {}

void WakePolicy::found(unsigned requests) {
    if (!may_choose_ || requests == 0 || (waits_ ? requests > 1 : ++turns_ % kTurnsToTry != 0)) {
        return;
    }
    const sched_param none{};
    if (sched_setscheduler(0, waits_ ? SCHED_OTHER : SCHED_BATCH, &none) == 0) {
        waits_ = !waits_;
    }
}

BlockQueue::BlockQueue(ActiveQueue& queue, DriverCalls& driver, BlockState& state, BlockBackend& backend,
                       WakePolicy& policy)
    : queue_{queue},
      driver_{driver},
      state_{state},
      backend_{backend},
      slots_(queue.queue.size()),
      policy_{policy} {}

void BlockQueue::serve() {
    std::vector<BlockBackend::End> ends;
    bool going = true;
    while (going || under_way_ > 0) {
        if (going && !broken_) {
            queue_.queue.hold_kicks();
            int looks = 0;
            do {
                take();
            } while (!broken_ && held_for().count() == 0 && queue_.queue.ask_for_kicks() &&
                     ++looks < kMostLooks);
            if (looks == kMostLooks) {
                signal_eventfd(queue_.kick_fd);
            }
        }
        policy_.found(std::exchange(found_, 0));
        tell_driver();
        const auto held = held_for();
        going = backend_.wait(ends, held.count() > 0 ? held : BlockBackend::kForever) && going;
        for (const BlockBackend::End& end : ends) {
            take_end(end);
        }
        ends.clear();
    }
    tell_driver();
}

void BlockQueue::tell_driver() {
    if (queue_.queue.interrupt_is_wanted()) {
        driver_.used_buffers(queue_.index);
    }
}

std::chrono::nanoseconds BlockQueue::held_for() const {
    return longer_wait(state_.requests, state_.bytes);
}

void BlockQueue::take() {
    const bool limited = state_.requests || state_.bytes;
    for (uint16_t taken = 0; taken < queue_.queue.size() && !broken_; ++taken) {
        if (limited && held_for().count() > 0) {
            return;
        }
        auto chain = queue_.queue.pop();
        if (chain && !*chain) {
            return;
        }
        if (!chain) {
            broken_ = true;
            driver_.needs_reset(chain.error().what);
            return;
        }
        ++found_;
        const uint16_t number = (*chain)->head();
        Slot& slot = slots_[number];
        slot.chain.emplace(std::move(**chain));
        const auto request = parse_block_request(*slot.chain, state_.limits, slot.memory);
        if (!request) {
            broken_ = true;
            driver_.needs_reset("a request has no room for its header or its answer");
            queue_.queue.push(std::move(*slot.chain), 0);
            slot.chain.reset();
            return;
        }
        slot.status = request->status;
        slot.written = slot.chain->writable_size();
        if (state_.requests) {
            state_.requests->take(1, TokenBucket::Clock::now());
        }
        if (const auto* operation = std::get_if<BlockOperation>(&request->what)) {
            const bool transfers = !operation->memory.empty();
            if (state_.bytes && transfers) {
                state_.bytes->take(operation->length, TokenBucket::Clock::now());
            }
            start(number, *operation);
        } else if (const auto* refusal = std::get_if<Refusal>(&request->what)) {
            answer(slot, refusal->status);
        } else {
            // 5.2.6.4: a string, ended by a zero if it is shorter than its room.
            std::array<char, VIRTIO_BLK_ID_BYTES> id{};
            std::ranges::copy(state_.id.substr(0, id.size()), id.begin());
            ChainWriter writer = slot.chain->writer();
            const bool fits =
                writer.remaining() == id.size() + 1 && writer.write_bytes(std::as_bytes(std::span{id}));
            answer(slot, fits ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
        }
    }
}

void BlockQueue::start(uint16_t number, const BlockOperation& operation) {
    slots_[number].operation = operation;
    ++under_way_;
    backend_.start(number, operation);
}

bool BlockQueue::is_done(Slot& slot, int32_t result) {
    BlockOperation& operation = slot.operation;
    if (operation.kind != BlockOperation::Kind::read && operation.kind != BlockOperation::Kind::write) {
        return true;
    }
    if (static_cast<uint64_t>(result) == operation.length) {
        return true;
    }
    operation.offset += result;
    operation.length -= std::min<uint64_t>(operation.length, result);
    for (auto done = static_cast<size_t>(result); done > 0 && !operation.memory.empty();) {
        iovec& first = slot.memory[slot.memory.size() - operation.memory.size()];
        const size_t part = std::min(done, first.iov_len);
        first.iov_base = static_cast<std::byte*>(first.iov_base) + part;
        first.iov_len -= part;
        done -= part;
        if (first.iov_len == 0) {
            operation.memory = operation.memory.subspan(1);
        }
    }
    return operation.length == 0;
}

void BlockQueue::take_end(const BlockBackend::End& end) {
    Slot& slot = slots_[end.slot];
    const BlockOperation::Kind kind = slot.operation.kind;
    const bool transfers = kind == BlockOperation::Kind::read || kind == BlockOperation::Kind::write;
    --under_way_;
    if (end.result == -EINTR) {
        start(end.slot, slot.operation);
        return;
    }
    if (kind == BlockOperation::Kind::flush && end.result < 0) {
        state_.flush_failed = true;
    }
    if (end.result < 0) {
        answer(slot, end.result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
    } else if (transfers && end.result == 0) {
        answer(slot, VIRTIO_BLK_S_IOERR);  // the file ends here: it was made shorter
    } else if (!is_done(slot, end.result)) {
        start(end.slot, slot.operation);
    } else if (is_write(kind) && state_.write_through) {
        start(end.slot, BlockOperation{BlockOperation::Kind::flush});
    } else {
        const bool untrue = kind == BlockOperation::Kind::flush && state_.flush_failed;
        answer(slot, untrue ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
    }
}

void BlockQueue::answer(Slot& slot, uint8_t status) {
    *slot.status = std::byte{status};
    queue_.queue.push(std::move(*slot.chain), slot.written);
    slot.chain.reset();
}

}  // namespace hull::virtio
