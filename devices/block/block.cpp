#include "devices/block/block.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace hull::virtio {

namespace {

constexpr uint32_t kSector = 512;
// What file systems of the host write at once: the guest's lay out accordingly.
constexpr uint32_t kPhysicalBlock = 4096;

}  // namespace

Block::Block(BlockSettings settings, BlockBackendMaker make_backend)
    : settings_{std::move(settings)},
      make_backend_{std::move(make_backend)},
      queue_sizes_(settings_.queues, kQueueSize),
      state_{.limits = {settings_.size, settings_.readonly}, .id = settings_.id} {
    if (settings_.requests_per_second > 0) {
        state_.requests.emplace(settings_.requests_per_second);
    }
    if (settings_.bytes_per_second > 0) {
        state_.bytes.emplace(settings_.bytes_per_second);
    }
    // Little-endian, as every host that this is built for.
    configuration_.capacity = settings_.size / kSector;
    configuration_.seg_max = kQueueSize - 2;  // beside the header and the answer
    configuration_.blk_size = settings_.block_size;
    configuration_.physical_block_exp =
        static_cast<uint8_t>(std::countr_zero(kPhysicalBlock / settings_.block_size));
    configuration_.num_queues = settings_.queues;
    configuration_.max_discard_sectors = kMostSectorsAtOnce;
    configuration_.max_discard_seg = 1;
    configuration_.discard_sector_alignment = kPhysicalBlock / kSector;
    configuration_.max_write_zeroes_sectors = kMostSectorsAtOnce;
    configuration_.max_write_zeroes_seg = 1;
    configuration_.write_zeroes_may_unmap = 1;
}

uint32_t Block::type() const {
    return VIRTIO_ID_BLOCK;
}

uint64_t Block::features() const {
    uint64_t offered = feature(VIRTIO_BLK_F_SEG_MAX) | feature(VIRTIO_BLK_F_BLK_SIZE) |
                       feature(VIRTIO_BLK_F_TOPOLOGY) | feature(VIRTIO_BLK_F_FLUSH) |
                       feature(VIRTIO_F_RING_RESET);
    if (settings_.queues > 1) {
        offered |= feature(VIRTIO_BLK_F_MQ);
    }
    return offered |
           (settings_.readonly ? feature(VIRTIO_BLK_F_RO)
                               : feature(VIRTIO_BLK_F_DISCARD) | feature(VIRTIO_BLK_F_WRITE_ZEROES));
}

void Block::read_configuration(uint64_t offset, std::span<std::byte> data) const {
    const auto bytes = std::as_bytes(std::span{&configuration_, 1});
    if (offset < bytes.size()) {
        const auto part = bytes.subspan(offset, std::min(data.size(), bytes.size() - offset));
        std::ranges::copy(part, data.begin());
    }
}

Block::Worker::Worker(const BlockBackendMaker& make_backend, int kick_fd)
    : thread{"block", [&](int stop_fd) {
                 backend = make_backend(kQueueSize, kick_fd, stop_fd);
                 const ThreadKind kind = backend->thread_kind();
                 policy.emplace(kind == ThreadKind::block);
                 return kind;
             }} {}

void Block::prepare(std::span<const int> kick_fds) {
    for (const int kick_fd : kick_fds) {
        workers_.push_back(std::make_unique<Worker>(make_backend_, kick_fd));
    }
}

void Block::activate(Activation activation) {
    state_.write_through = (activation.features & feature(VIRTIO_BLK_F_FLUSH)) == 0;
    for (ActiveQueue& queue : activation.queues) {
        Worker& worker = *workers_[queue.index];
        worker.queue.emplace(std::move(queue));
        worker.thread.start([this, &worker, &driver = activation.driver](int /*stop_fd*/) {
            worker.backend->begin();
            BlockQueue{*worker.queue, driver, state_, *worker.backend, *worker.policy}.serve();
        });
    }
}

void Block::reset() {
    for (const auto& worker : workers_) {
        worker->thread.stop();
        worker->queue.reset();
    }
}

void Block::save(StateWriter& state) const {
    state.put(settings_.size);
    state.put(settings_.block_size);
}

void Block::load(StateReader& state) {
    const auto size = state.get<uint64_t>();
    state.require(size == settings_.size, "the disk had " + std::to_string(size) + " bytes and has " +
                                              std::to_string(settings_.size) + " now");
    state.require(state.get<uint32_t>() == settings_.block_size, "the disk had blocks of another size");
}

}  // namespace hull::virtio
