#include "devices/block/served_disk.h"

#include <linux/virtio_blk.h>

#include <cstring>

#include "devices/block/block.h"

namespace hull::virtio {

namespace {

/// Not among them: VIRTIO_BLK_F_CONFIG_WCE, by which a driver could turn the server's cache off; without it a
/// driver flushes.
constexpr uint64_t kFeatures =
    feature(VIRTIO_BLK_F_SIZE_MAX) | feature(VIRTIO_BLK_F_SEG_MAX) | feature(VIRTIO_BLK_F_GEOMETRY) |
    feature(VIRTIO_BLK_F_RO) | feature(VIRTIO_BLK_F_BLK_SIZE) | feature(VIRTIO_BLK_F_FLUSH) |
    feature(VIRTIO_BLK_F_TOPOLOGY) | feature(VIRTIO_BLK_F_DISCARD) | feature(VIRTIO_BLK_F_WRITE_ZEROES);

/// What these features are about; servers have no more than they know of.
constexpr size_t kConfigurationSize = offsetof(virtio_blk_config, max_secure_erase_sectors);

/// 5.2.6: the answer is the last byte of a request.
uint32_t refuse(const DescriptorChain& request) {
    if (request.writable().empty()) {
        return 0;
    }
    const iovec& last = request.writable().back();
    static_cast<uint8_t*>(last.iov_base)[last.iov_len - 1] = VIRTIO_BLK_S_IOERR;
    return request.writable_size();
}

}  // namespace

VhostUserKind served_disk_kind(uint32_t queues) {
    return {.type = VIRTIO_ID_BLOCK,
            .features = kFeatures | (queues > 1 ? feature(VIRTIO_BLK_F_MQ) : 0),
            .queue_sizes = std::vector<uint16_t>(queues, Block::kQueueSize),
            .needs = {.configuration_size = kConfigurationSize, .inflight = true},
            .make_configuration =
                [queues](std::span<const std::byte> given, bool /*is_served*/) {
                    std::vector<std::byte> seen{given.begin(), given.end()};
                    const auto count = static_cast<uint16_t>(queues);
                    std::memcpy(seen.data() + offsetof(virtio_blk_config, num_queues), &count, sizeof count);
                    return seen;
                },
            .refuse = refuse};
}

}  // namespace hull::virtio
