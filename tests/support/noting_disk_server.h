// A vhost-user-blk server that notes its requests in flight, for tests that kill it. No program of Debian
// 12's does that for a disk: qemu-storage-daemon 7.2 does not offer it.
#pragma once

#include <linux/virtio_blk.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "devices/virtio/ring_layout.h"
#include "tests/support/vhost_user_server.h"

namespace hull::test {

/// Serves one queue of a disk that is an open file, with requests done in another order than they came, to
/// one front end. The note is as the text's "Inflight I/O tracking" has it for a split queue.
class NotingDiskServer {
  public:
    NotingDiskServer(UniqueFd connection, int image, uint64_t sectors, std::atomic<int>& done_again)
        : image_{image}, done_again_{done_again}, server_{std::move(connection), manners(sectors)} {}

    /// Until the front end takes the queue back or is gone.
    void serve() {
        while (!server_.wait_for_ring(0)) {
            if (server_.ended) {
                return;
            }
        }
        ring_ = &server_.rings[0];
        note_ = Mapping::shared(server_.inflight.get(), kNoteSize, "note");
        take_up();
        while (ring_->started && !server_.ended) {
            pollfd kick{ring_->kick.get(), POLLIN, 0};
            if (poll(&kick, 1, 100) > 0) {
                drain_eventfd(kick.fd);
            }
            take_new();
            usleep(20'000);  // so that it is mostly killed with something in hand
            while (!taken_.empty()) {
                finish(taken_.back());
                taken_.pop_back();
            }
            signal_eventfd(ring_->call.get());
        }
    }

  private:
    static constexpr size_t kNoteSize = 65536;
    struct Entry {
        uint8_t in_flight;
        uint8_t padding[5];
        uint16_t next;
        uint64_t counter;
    };
    struct Note {
        uint64_t features;
        uint16_t version;
        uint16_t entries;
        uint16_t last_batch_head;
        uint16_t used_index;
    };

    static VhostUserServer::Manners manners(uint64_t sectors) {
        VhostUserServer::Manners manners;
        manners.features = uint64_t{1} << VIRTIO_F_VERSION_1 | uint64_t{1} << vu::kProtocolFeatures |
                           uint64_t{1} << VIRTIO_BLK_F_FLUSH;
        manners.protocol |= 1 << vu::kInflightFd;
        manners.queues = 1;
        manners.inflight_size = kNoteSize;
        std::memcpy(manners.configuration.data(), &sectors, sizeof sectors);
        return manners;
    }
    Note& note() { return *reinterpret_cast<Note*>(note_.data()); }
    Entry& entry(uint16_t head) { return reinterpret_cast<Entry*>(note_.data() + sizeof(Note))[head]; }
    std::atomic_ref<uint16_t> used_index() {
        return std::atomic_ref{*reinterpret_cast<uint16_t*>(server_.at(ring_->addresses.used) + 2)};
    }
    vring_desc descriptor(uint16_t index) {
        vring_desc descriptor{};
        std::memcpy(&descriptor, server_.at(ring_->addresses.descriptor) + index * sizeof descriptor,
                    sizeof descriptor);
        return descriptor;
    }
    std::byte* guest(uint64_t address) {
        for (size_t index = 0; index < server_.table.count; ++index) {
            const vu::Region& region = server_.table.regions[index];
            if (address >= region.guest_address && address - region.guest_address < region.size) {
                return server_.mappings[index].data() + (address - region.guest_address);
            }
        }
        std::abort();
    }

    /// What the one before left undone.
    void take_up() {
        note().version = 1;
        if (note().used_index != used_index()) {
            // It died between its answer and its note of it.
            entry(note().last_batch_head).in_flight = 0;
            note().used_index = used_index();
        }
        for (uint16_t head = 0; head < ring_->size; ++head) {
            if (entry(head).in_flight != 0) {
                taken_.push_back(head);
                counter_ = std::max(counter_, entry(head).counter + 1);
            }
        }
        std::ranges::sort(taken_, {}, [this](uint16_t head) { return entry(head).counter; });
        done_again_ += static_cast<int>(taken_.size());
        next_ = static_cast<uint16_t>(used_index() + taken_.size());
    }
    void take_new() {
        std::byte* available = server_.at(ring_->addresses.available);
        const std::atomic_ref index{*reinterpret_cast<uint16_t*>(available + 2)};
        while (next_ != index) {
            uint16_t head = 0;
            std::memcpy(&head, available + 4 + size_t{2} * (next_++ % ring_->size), sizeof head);
            entry(head).counter = counter_++;
            entry(head).in_flight = 1;
            taken_.push_back(head);
        }
    }
    void finish(uint16_t head) {
        const vring_used_elem element{head, execute(head)};
        entry(head).next = note().last_batch_head;
        note().last_batch_head = head;
        const uint16_t at = used_index();
        std::memcpy(server_.at(ring_->addresses.used) + 4 + sizeof element * (at % ring_->size), &element,
                    sizeof element);
        used_index() = static_cast<uint16_t>(at + 1);
        entry(head).in_flight = 0;
        note().used_index = used_index();
    }
    uint32_t execute(uint16_t head) {
        vring_desc part = descriptor(head);
        virtio_blk_outhdr header{};
        std::memcpy(&header, guest(part.addr), sizeof header);
        auto offset = static_cast<off_t>(header.sector * 512);
        bool done = header.type != VIRTIO_BLK_T_FLUSH || fdatasync(image_) == 0;
        uint32_t written = 1;
        for (part = descriptor(part.next); (part.flags & VRING_DESC_F_NEXT) != 0;
             part = descriptor(part.next)) {
            const ssize_t size = part.len;
            if (header.type == VIRTIO_BLK_T_IN) {
                done = pread(image_, guest(part.addr), part.len, offset) == size && done;
                written += part.len;
            } else {
                done = pwrite(image_, guest(part.addr), part.len, offset) == size && done;
            }
            offset += size;
        }
        *guest(part.addr) = std::byte{done ? uint8_t{VIRTIO_BLK_S_OK} : uint8_t{VIRTIO_BLK_S_IOERR}};
        return written;
    }

    const int image_;
    std::atomic<int>& done_again_;  // shared with who kills this
    VhostUserServer server_;
    VhostUserServer::Ring* ring_ = nullptr;
    Mapping note_;
    std::vector<uint16_t> taken_;
    uint16_t next_ = 0;
    uint64_t counter_ = 1;
};

}  // namespace hull::test
