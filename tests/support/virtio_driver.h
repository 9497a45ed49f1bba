// A virtqueue as a guest's driver drives it: lays rings and buffers out in guest memory, well or badly.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "devices/virtio/queue.h"
#include "devices/virtio/ring_layout.h"

namespace hull::test {

/// One buffer of a chain.
struct Buffer {
    uint64_t address;
    uint32_t length;
    bool writable;
};

/// The driver's side of one split queue. What the tests ask for is written as it stands, however wrong.
class DriverQueue {
  public:
    /// Rings of `size` entries in `memory` from `base` on, and behind them room for indirect tables.
    DriverQueue(GuestMemory& memory, uint64_t base, uint16_t size) : memory_{memory}, size_{size} {
        config_.size = size;
        config_.descriptor_area = GuestAddress{base};
        config_.driver_area = GuestAddress{base + size * sizeof(vring_desc)};
        const uint64_t used = raw(config_.driver_area) + 4 + 2 * uint64_t{size} + 2;
        config_.device_area = GuestAddress{(used + 3) / 4 * 4};
        next_table_ = (raw(config_.device_area) + 4 + 8 * uint64_t{size} + 2 + 15) / 16 * 16;
    }

    [[nodiscard]] const virtio::QueueConfig& config() const { return config_; }

    void set_descriptor(uint16_t index, const vring_desc& descriptor) {
        put(raw(config_.descriptor_area) + index * sizeof descriptor, descriptor);
    }
    /// Makes the chain that begins at `head` available.
    void make_available(uint16_t head) {
        field(raw(config_.driver_area) + 4 + 2 * uint64_t{static_cast<uint16_t>(available_ % size_)})
            .store(head);
        set_available_index(static_cast<uint16_t>(available_ + 1));
    }
    void set_available_index(uint16_t index) {
        available_ = index;
        field(raw(config_.driver_area) + 2).store(index, std::memory_order_release);
    }
    /// VRING_AVAIL_F_NO_INTERRUPT, or the event index: when to interrupt.
    void set_available_flags(uint16_t flags) { field(raw(config_.driver_area)).store(flags); }
    void set_used_event(uint16_t index) {
        field(raw(config_.driver_area) + 4 + 2 * uint64_t{size_}).store(index);
    }

    /// Writes a chain of these buffers at the descriptors from `head` on and makes it available.
    void add(std::span<const Buffer> buffers, uint16_t head = 0) {
        for (size_t index = 0; index < buffers.size(); ++index) {
            set_descriptor(static_cast<uint16_t>(head + index),
                           descriptor(buffers, index, static_cast<uint16_t>(head + index + 1)));
        }
        make_available(head);
    }
    /// The same through an indirect table.
    void add_indirect(std::span<const Buffer> buffers, uint16_t head = 0) {
        const uint64_t table = next_table_;
        next_table_ += buffers.size() * sizeof(vring_desc);
        for (size_t index = 0; index < buffers.size(); ++index) {
            put(table + index * sizeof(vring_desc),
                descriptor(buffers, index, static_cast<uint16_t>(index + 1)));
        }
        set_descriptor(head, {.addr = table,
                              .len = static_cast<uint32_t>(buffers.size() * sizeof(vring_desc)),
                              .flags = VRING_DESC_F_INDIRECT,
                              .next = 0});
        make_available(head);
    }

    /// How many chains the device has given back in all.
    [[nodiscard]] uint16_t used_index() const {
        return field(raw(config_.device_area) + 2).load(std::memory_order_acquire);
    }
    /// What the device has given back since this was last asked, oldest first.
    std::vector<vring_used_elem> take_used() {
        std::vector<vring_used_elem> elements;
        const uint16_t index = used_index();
        for (; used_ != index; ++used_) {
            elements.push_back(
                get<vring_used_elem>(raw(config_.device_area) + 4 + uint64_t{8} * (used_ % size_)));
        }
        return elements;
    }
    /// VRING_USED_F_NO_NOTIFY, or the event index: when to kick.
    [[nodiscard]] uint16_t used_flags() const { return field(raw(config_.device_area)).load(); }
    [[nodiscard]] uint16_t available_event() const {
        return field(raw(config_.device_area) + 4 + 8 * uint64_t{size_}).load();
    }

  private:
    static vring_desc descriptor(std::span<const Buffer> buffers, size_t index, uint16_t next) {
        const bool last = index + 1 == buffers.size();
        return {.addr = buffers[index].address,
                .len = buffers[index].length,
                .flags = static_cast<uint16_t>((buffers[index].writable ? VRING_DESC_F_WRITE : 0) |
                                               (last ? 0 : VRING_DESC_F_NEXT)),
                .next = last ? uint16_t{0} : next};
    }
    /// What both sides read and write at any time, ordered as a real driver orders it.
    [[nodiscard]] std::atomic_ref<uint16_t> field(uint64_t address) const {
        const auto bytes = memory_.slice(GuestRange::of(address, sizeof(uint16_t))).value();
        return std::atomic_ref{*reinterpret_cast<uint16_t*>(bytes.data())};
    }
    template <typename T>
    void put(uint64_t address, const T& value) {
        if (!memory_.write(GuestAddress{address}, value)) {
            throw std::out_of_range{"the driver's own rings lie outside of guest memory"};
        }
    }
    template <typename T>
    [[nodiscard]] T get(uint64_t address) const {
        return memory_.read<T>(GuestAddress{address}).value();
    }

    GuestMemory& memory_;
    uint16_t size_;
    virtio::QueueConfig config_;
    uint64_t next_table_;
    uint16_t available_ = 0;
    uint16_t used_ = 0;
};

}  // namespace hull::test
