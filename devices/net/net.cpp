#include "devices/net/net.h"

#include <linux/virtio_ids.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "devices/net/layout.h"
#include "devices/net/net_queues.h"
#include "devices/net/tap.h"

namespace hull::virtio {

namespace {

/// 5.1.3: frames whose checksum or segments the other one completes, in both directions.
constexpr uint64_t kOffloads = feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_HOST_TSO4) |
                               feature(VIRTIO_NET_F_HOST_TSO6) | feature(VIRTIO_NET_F_HOST_ECN) |
                               feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_TSO4) |
                               feature(VIRTIO_NET_F_GUEST_TSO6) | feature(VIRTIO_NET_F_GUEST_ECN);

}  // namespace

uint32_t Net::type() const {
    return VIRTIO_ID_NET;
}

uint64_t Net::features() const {
    return feature(VIRTIO_NET_F_MAC) | feature(VIRTIO_NET_F_MRG_RXBUF) | (settings_.offloads ? kOffloads : 0);
}

void Net::read_configuration(uint64_t offset, std::span<std::byte> data) const {
    virtio_net_config config{};
    std::ranges::copy(settings_.mac, config.mac);
    const auto bytes = std::as_bytes(std::span{&config, 1});
    if (offset < bytes.size()) {
        const std::span<const std::byte> rest = bytes.subspan(static_cast<size_t>(offset));
        std::memcpy(data.data(), rest.data(), std::min(data.size(), rest.size()));
    }
}

void Net::activate(Activation activation) {
    for (ActiveQueue& queue : activation.queues) {
        (queue.index == 0 ? receive_queue_ : transmit_queue_).emplace(std::move(queue));
    }
    if (!receive_queue_ || !transmit_queue_) {
        return;
    }
    if (settings_.offloads && !set_tap_offloads(link_.get(), activation.features)) {
        log_warning(settings_.name + ": the host refuses the guest's offloads");
    }
    const bool merge = (activation.features & feature(VIRTIO_NET_F_MRG_RXBUF)) != 0;
    worker_.emplace(settings_.name, [this, merge, &driver = activation.driver](int stop_fd) {
        NetQueues queues{{.receive = *receive_queue_,
                          .transmit = *transmit_queue_,
                          .driver = driver,
                          .link_fd = link_.get(),
                          .merge = merge}};
        queues.serve(stop_fd);
    });
}

void Net::reset() {
    worker_.reset();
    receive_queue_.reset();
    transmit_queue_.reset();
}

}  // namespace hull::virtio
