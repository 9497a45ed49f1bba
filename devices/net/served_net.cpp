#include "devices/net/served_net.h"

#include <linux/virtio_ids.h>

#include <algorithm>
#include <span>
#include <vector>

#include "devices/net/layout.h"

namespace hull::virtio {

namespace {

/// 5.1.3: what the server does with frames. Not among them: what would need a control queue.
constexpr uint64_t kFeatures =
    feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_TSO4) |
    feature(VIRTIO_NET_F_GUEST_TSO6) | feature(VIRTIO_NET_F_GUEST_ECN) | feature(VIRTIO_NET_F_GUEST_UFO) |
    feature(VIRTIO_NET_F_HOST_TSO4) | feature(VIRTIO_NET_F_HOST_TSO6) | feature(VIRTIO_NET_F_HOST_ECN) |
    feature(VIRTIO_NET_F_HOST_UFO) | feature(VIRTIO_NET_F_MRG_RXBUF);

constexpr uint16_t kQueueSize = 256;

}  // namespace

VhostUserKind served_net_kind(const MacAddress& mac, uint16_t mtu) {
    virtio_net_config config{};
    std::ranges::copy(mac, config.mac);
    config.max_virtqueue_pairs = 1;
    config.mtu = mtu;
    return {.type = VIRTIO_ID_NET,
            .features = kFeatures,
            .own_features = feature(VIRTIO_NET_F_MAC) | feature(VIRTIO_NET_F_STATUS) |
                            (mtu != 0 ? feature(VIRTIO_NET_F_MTU) : 0),
            .queue_sizes = {kQueueSize, kQueueSize},
            .queues_counted_as_one = 2,
            .needs = {},
            .make_configuration =
                [config](std::span<const std::byte> /*given*/, bool is_served) {
                    virtio_net_config seen = config;
                    seen.status = is_served ? VIRTIO_NET_S_LINK_UP : 0;
                    const auto bytes = std::as_bytes(std::span{&seen, 1});
                    return std::vector<std::byte>{bytes.begin(), bytes.end()};
                },
            .refuse = [](const DescriptorChain& /*frame*/) { return 0U; },
            .waits = [](uint16_t queue) { return queue % 2 == 0; }};
}

}  // namespace hull::virtio
