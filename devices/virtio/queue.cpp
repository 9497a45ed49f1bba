#include "devices/virtio/queue.h"

#include <linux/virtio_config.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include "devices/virtio/ring_layout.h"

namespace hull::virtio {

namespace {

/// So many entries of its ring a driver may have written before their index is seen.
constexpr uint16_t kMostAhead = 2;

/// A 16-bit field of a ring. Aligned, since the rings are.
std::atomic_ref<uint16_t> field(std::byte* area, size_t offset) {
    return std::atomic_ref{*reinterpret_cast<uint16_t*>(area + offset)};
}

/// Copied out in one piece; the guest may change it while that happens, so it is checked in the copy.
vring_desc descriptor_at(const std::byte* table, uint16_t index) {
    vring_desc descriptor;
    std::memcpy(&descriptor, table + index * sizeof descriptor, sizeof descriptor);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return descriptor;
}

constexpr size_t ring_offset(size_t index, size_t element) {
    return 4 + index * element;  // behind flags and index
}

}  // namespace

VirtQueue::VirtQueue(const GuestMemory& memory, uint16_t size, uint64_t features)
    : memory_{&memory},
      size_{size},
      event_index_{(features & feature(VIRTIO_RING_F_EVENT_IDX)) != 0},
      indirect_{(features & feature(VIRTIO_RING_F_INDIRECT_DESC)) != 0},
      chains_(size) {}

tl::expected<VirtQueue, QueueError> VirtQueue::make(const GuestMemory& memory, const QueueConfig& config,
                                                    uint64_t features) {
    if (!std::has_single_bit(config.size) || config.size > kMaxQueueSize) {
        return tl::unexpected{QueueError{"its size is not a power of two or too large"}};
    }
    const size_t size = config.size;
    // VIRTIO 1.2, 2.7: sizes and alignments of the three areas. Both rings end with an event field.
    const auto area = [&](GuestAddress address, size_t bytes, size_t alignment) -> std::byte* {
        const auto range = GuestRange::make(address, bytes);
        const auto slice = range && raw(address) % alignment == 0 ? memory.slice(*range) : std::nullopt;
        return slice ? slice->data() : nullptr;
    };
    VirtQueue queue{memory, config.size, features};
    queue.descriptors_ = area(config.descriptor_area, size * sizeof(vring_desc), 16);
    queue.available_ = area(config.driver_area, ring_offset(size, sizeof(uint16_t)) + sizeof(uint16_t), 2);
    queue.used_ = area(config.device_area, ring_offset(size, sizeof(vring_used_elem)) + sizeof(uint16_t), 4);
    if (queue.descriptors_ == nullptr || queue.available_ == nullptr || queue.used_ == nullptr) {
        return tl::unexpected{QueueError{"an area is not aligned or does not lie in guest memory"}};
    }
    return queue;
}

void VirtQueue::resume() {
    // The driver may have written there, to its own harm: a position that cannot be is an error of pop().
    next_available_ = next_used_ = told_used_ = field(used_, offsetof(vring_used, idx)).load();
}

uint16_t VirtQueue::available_index() const {
    // Acquire: the entries and descriptors that the driver wrote before it raised the index are read after.
    return field(available_, offsetof(vring_avail, idx)).load(std::memory_order_acquire);
}

tl::expected<std::optional<DescriptorChain>, QueueError> VirtQueue::pop() {
    const auto ready = static_cast<uint16_t>(available_index() - next_available_);
    if (ready == 0) {
        return std::nullopt;
    }
    if (ready > size_) {
        return tl::unexpected{QueueError{"its available index jumped"}};
    }
    const size_t at = ring_offset(next_available_ % size_, sizeof(uint16_t));
    const uint16_t head = field(available_, at).load(std::memory_order_relaxed);
    if (head >= size_) {
        return tl::unexpected{QueueError{"a chain's head is no descriptor"}};
    }
    if (auto collected = collect(head); !collected) {
        return tl::unexpected{collected.error()};
    }
    ++next_available_;
    return begin(head);
}

/// The chain that was just collected.
DescriptorChain VirtQueue::begin(uint16_t head) {
    Chain& chain = chains_[head];
    chain.in_flight = true;
    const std::span<const iovec> segments{chain.segments};
    return {head, segments.first(chain.readable), chain.readable_size, segments.subspan(chain.readable),
            chain.writable_size};
}

tl::expected<void, QueueError> VirtQueue::add_buffer(Chain& chain, uint64_t address, uint32_t length,
                                                     bool writable) {
    if (!writable && chain.readable < chain.segments.size()) {
        return tl::unexpected{QueueError{"a buffer to read comes after one to write"}};
    }
    if (length == 0) {
        return {};
    }
    const auto range = GuestRange::make(GuestAddress{address}, length);
    const auto slice = range ? memory_->slice(*range) : std::nullopt;
    if (!slice) {
        return tl::unexpected{QueueError{"a buffer does not lie in guest memory"}};
    }
    chain.segments.push_back({slice->data(), slice->size()});
    chain.readable += writable ? 0 : 1;
    (writable ? chain.writable_size : chain.readable_size) += length;
    return {};
}

tl::expected<void, QueueError> VirtQueue::collect(uint16_t head) {
    Chain& chain = chains_[head];
    if (chain.in_flight) {
        return tl::unexpected{QueueError{"a chain was made available twice"}};
    }
    chain.segments.clear();
    chain.readable = 0;
    chain.readable_size = 0;
    chain.writable_size = 0;
    const std::byte* table = descriptors_;
    uint32_t table_size = size_;
    bool in_indirect = false;
    uint64_t total = 0;
    uint32_t index = head;
    // 2.7.5.3.1: a chain is not longer than the queue, an indirect table included; so a loop ends here too.
    // The descriptor that leads to the table is not one of the chain's: a disk's driver makes a request of as
    // many segments as it may, and of header and answer, behind it.
    for (uint32_t count = 0; count < size_;) {
        const vring_desc descriptor = descriptor_at(table, static_cast<uint16_t>(index));
        if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) {
            const auto range = GuestRange::make(GuestAddress{descriptor.addr}, descriptor.len);
            const auto slice = range ? memory_->slice(*range) : std::nullopt;
            if (!indirect_ || in_indirect || (descriptor.flags & VRING_DESC_F_NEXT) != 0 || !slice ||
                descriptor.len % sizeof(vring_desc) != 0) {
                return tl::unexpected{QueueError{"an indirect table is malformed or must not be there"}};
            }
            in_indirect = true;
            table = slice->data();
            table_size = descriptor.len / static_cast<uint32_t>(sizeof(vring_desc));
            index = 0;
            continue;
        }
        ++count;
        total += descriptor.len;
        if (total > std::numeric_limits<uint32_t>::max()) {
            return tl::unexpected{QueueError{"a chain is longer than 4 GiB"}};
        }
        if (auto added = add_buffer(chain, descriptor.addr, descriptor.len,
                                    (descriptor.flags & VRING_DESC_F_WRITE) != 0);
            !added) {
            return added;
        }
        if ((descriptor.flags & VRING_DESC_F_NEXT) == 0) {
            return {};
        }
        index = descriptor.next;
        if (index >= table_size) {
            return tl::unexpected{QueueError{"a chain goes on at a descriptor that is not there"}};
        }
    }
    return tl::unexpected{QueueError{"a chain does not end"}};
}

void VirtQueue::stage(DescriptorChain chain, uint32_t written) {
    const vring_used_elem element{chain.head(), written};
    std::memcpy(used_ + ring_offset(next_used_ % size_, sizeof element), &element, sizeof element);
    chains_[chain.head()].in_flight = false;
    ++next_used_;
    if (memory_->is_logged()) [[unlikely]] {
        // All of its memory, not what the driver is told: who failed half way has written too.
        for (const iovec& segment : chain.writable()) {
            memory_->mark_written({static_cast<const std::byte*>(segment.iov_base), segment.iov_len});
        }
    }
}

void VirtQueue::mark_used_ring() const {
    memory_->mark_written({used_, ring_offset(size_, sizeof(vring_used_elem)) + sizeof(uint16_t)});
}

void VirtQueue::publish() {
    // Release: the elements, and the data before them, are there when the driver sees the index.
    field(used_, offsetof(vring_used, idx)).store(next_used_, std::memory_order_release);
    mark_used_ring();
}

bool VirtQueue::interrupt_is_wanted() {
    const uint16_t told = std::exchange(told_used_, next_used_);
    if (told == next_used_) {
        return false;
    }
    // The index just stored is seen by the driver before its wish is read here; the driver stores its wish
    // and then reads the index. So one of the two sees the other.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (event_index_) {
        const uint16_t event =
            field(available_, ring_offset(size_, sizeof(uint16_t))).load(std::memory_order_relaxed);
        return vring_need_event(event, next_used_, told) != 0;
    }
    return (field(available_, offsetof(vring_avail, flags)).load(std::memory_order_relaxed) &
            VRING_AVAIL_F_NO_INTERRUPT) == 0;
}

void VirtQueue::hold_kicks() {
    // With the event index nothing is to be done: the driver has passed the index that it last was asked for.
    if (!event_index_) {
        field(used_, offsetof(vring_used, flags)).store(VRING_USED_F_NO_NOTIFY, std::memory_order_relaxed);
        mark_used_ring();
    }
}

bool VirtQueue::ask_for_kicks() {
    if (event_index_) {
        field(used_, ring_offset(size_, sizeof(vring_used_elem)))
            .store(next_available_, std::memory_order_relaxed);
    } else {
        field(used_, offsetof(vring_used, flags)).store(0, std::memory_order_relaxed);
    }
    mark_used_ring();
    // The wish is seen by the driver before its index is read here; as above, the other way round.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return available_index() != next_available_;
}

tl::expected<std::vector<uint16_t>, QueueError> VirtQueue::take_over() {
    const uint16_t used = field(used_, offsetof(vring_used, idx)).load(std::memory_order_relaxed);
    // A driver that goes on cannot for long: it gets nothing back.
    for (uint32_t tries = 0; tries <= size_; ++tries) {
        const uint16_t available = available_index();
        const auto owed = static_cast<uint16_t>(available - used);
        if (owed > size_) {
            return tl::unexpected{QueueError{"more of its chains are owed than there are"}};
        }
        auto heads = find_owed(available, owed);
        // The entries were read before the index is read again: what the driver wrote over them raises it.
        std::atomic_thread_fence(std::memory_order_acquire);
        if (available_index() != available) {
            continue;
        }
        if (!heads) {
            return tl::unexpected{QueueError{"it cannot be told which of its chains are owed"}};
        }
        next_available_ = available;
        next_used_ = used;
        told_used_ = used;
        return std::move(*heads);
    }
    return tl::unexpected{QueueError{"its available index does not stand still"}};
}

/// Which of the chains before `available`, `owed` of them, were not answered; nothing where the rings do not
/// tell.
std::optional<std::vector<uint16_t>> VirtQueue::find_owed(uint16_t available, uint16_t owed) const {
    // How often each head was made available since some point in the past, less how often it was answered:
    // 1 for those that are owed and 0 for all others, where that point is one at which no answers were out of
    // order. It is moved back as far as the rings reach, and the longest history that makes sense is
    // believed. The oldest entries are left alone where the driver may be writing over them, not having
    // raised its index yet: one that raises it for each chain is at most two ahead of what is seen of it.
    const auto longest = static_cast<uint16_t>(std::max(int{owed}, size_ - kMostAhead));
    std::vector<int> balance(size_);
    size_t nonsense = 0;  // how many are neither 0 nor 1
    const auto count = [&](uint32_t head, int change) {
        const auto is_nonsense = [&] { return balance[head] != 0 && balance[head] != 1; };
        nonsense -= is_nonsense() ? 1 : 0;
        balance[head] += change;
        nonsense += is_nonsense() ? 1 : 0;
    };
    std::optional<std::vector<uint16_t>> heads;
    if (owed == 0) {
        return heads.emplace();
    }
    for (uint16_t length = 1; length <= longest; ++length) {
        const auto at = static_cast<uint16_t>(available - length);
        const uint16_t head =
            field(available_, ring_offset(at % size_, sizeof(uint16_t))).load(std::memory_order_relaxed);
        vring_used_elem answer{};
        if (length > owed) {
            std::memcpy(&answer, used_ + ring_offset(at % size_, sizeof answer), sizeof answer);
        }
        if (head >= size_ || answer.id >= size_) {
            break;
        }
        count(head, 1);
        if (length > owed) {
            count(answer.id, -1);
        }
        if (length >= owed && nonsense == 0) {
            heads.emplace();
            for (uint16_t index = 0; index < size_; ++index) {
                if (balance[index] == 1) {
                    heads->push_back(index);
                }
            }
        }
    }
    return heads;
}

tl::expected<DescriptorChain, QueueError> VirtQueue::pop_owed(uint16_t head) {
    if (auto collected = collect(head); !collected) {
        return tl::unexpected{collected.error()};
    }
    return begin(head);
}

}  // namespace hull::virtio
