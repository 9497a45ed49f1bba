#include "devices/fs/share.h"

#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>

namespace hull::virtio {

namespace {

constexpr uint32_t kRequestQueues = 1;

}  // namespace

uint32_t refuse_fuse_request(const DescriptorChain& request) {
    // 5.11.6: what is to be answered has room for the answer's header; what only tells something has none.
    ChainReader reader = request.reader();
    ChainWriter writer = request.writer();
    const auto header = reader.read<fuse_in_header>();
    const fuse_out_header answer{.len = sizeof answer, .error = -EIO, .unique = header ? header->unique : 0};
    return writer.write(answer) ? sizeof answer : 0;
}

virtio_fs_config share_configuration(const std::string& tag) {
    virtio_fs_config config{};
    std::ranges::copy(tag, config.tag);
    config.num_request_queues = kRequestQueues;
    return config;
}

VhostUserKind share_kind(const std::string& tag) {
    const virtio_fs_config config = share_configuration(tag);
    const auto bytes = std::as_bytes(std::span{&config, 1});
    return {.type = VIRTIO_ID_FS,
            .features = 0,
            .queue_sizes = std::vector<uint16_t>(1 + kRequestQueues, kMaxQueueSize),
            .needs = {},
            .make_configuration = [seen = std::vector<std::byte>{bytes.begin(), bytes.end()}](
                                      auto, bool) { return seen; },
            .unsaved = "its server has files open for the guest, which no other has",
            .refuse = refuse_fuse_request};
}

}  // namespace hull::virtio
