#include "devices/vsock/vsock.h"

#include <linux/virtio_ids.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "devices/vsock/connections.h"
#include "devices/vsock/packet.h"

namespace hull::virtio {

uint32_t Vsock::type() const {
    return VIRTIO_ID_VSOCK;
}

uint64_t Vsock::features() const {
    return feature(kVsockStreamFeature);
}

void Vsock::read_configuration(uint64_t offset, std::span<std::byte> data) const {
    const virtio_vsock_config config{.guest_cid = settings_.cid};
    const auto bytes = std::as_bytes(std::span{&config, 1});
    if (offset < bytes.size()) {
        const std::span<const std::byte> rest = bytes.subspan(static_cast<size_t>(offset));
        std::memcpy(data.data(), rest.data(), std::min(data.size(), rest.size()));
    }
}

void Vsock::activate(Activation activation) {
    for (ActiveQueue& queue : activation.queues) {
        if (queue.index < 2) {
            (queue.index == 0 ? receive_queue_ : transmit_queue_).emplace(std::move(queue));
        }
    }
    if (!receive_queue_ || !transmit_queue_) {
        return;
    }
    UniqueFd epoll{epoll_create1(EPOLL_CLOEXEC)};
    if (!epoll.valid()) {
        activation.driver.needs_reset("the host has no descriptor left for it");
        return;
    }
    auto connections =
        std::make_shared<VsockConnections>(VsockConnections::Sides{.receive = *receive_queue_,
                                                                   .transmit = *transmit_queue_,
                                                                   .driver = activation.driver,
                                                                   .guest_cid = settings_.cid,
                                                                   .listener = listener_.get(),
                                                                   .path = settings_.path,
                                                                   .epoll = std::move(epoll)});
    worker_.emplace("vsock", [connections](int stop_fd) { connections->serve(stop_fd); });
}

void Vsock::reset() {
    worker_.reset();
    receive_queue_.reset();
    transmit_queue_.reset();
}

}  // namespace hull::virtio
