#include "devices/vsock/vsock.h"

#include <linux/virtio_ids.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/vsock/packet.h"

namespace hull::virtio {

uint32_t Vsock::type() const {
    return VIRTIO_ID_VSOCK;
}

uint64_t Vsock::features() const {
    return feature(kVsockStreamFeature) | feature(VIRTIO_F_RING_RESET);
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
        std::optional<ActiveQueue>& place = queue.index == 0   ? receive_queue_
                                            : queue.index == 1 ? transmit_queue_
                                                               : event_queue_;
        place.emplace(std::move(queue));
    }
    if (tell_of_end_ && event_queue_) {
        tell_of_end(activation.driver);
    }
    if (!receive_queue_ || !transmit_queue_) {
        return;
    }
    worker_.start([this, &driver = activation.driver](int stop_fd) { serve(driver, stop_fd); });
}

void Vsock::serve(DriverCalls& driver, int stop_fd) {
    if (!connections_) {
        UniqueFd epoll{epoll_create1(EPOLL_CLOEXEC)};
        if (!epoll.valid()) {
            driver.needs_reset("the host has no descriptor left for it");
            return;
        }
        connections_ =
            std::make_unique<VsockConnections>(VsockConnections::Sides{.receive = receive_queue_,
                                                                       .transmit = transmit_queue_,
                                                                       .driver = driver,
                                                                       .guest_cid = settings_.cid,
                                                                       .listener = listener_.get(),
                                                                       .connect = settings_.connect,
                                                                       .epoll = std::move(epoll)});
    }
    connections_->serve(stop_fd);
}

/// VIRTIO 1.2, 5.10.6.7.
void Vsock::tell_of_end(DriverCalls& driver) {
    VirtQueue& queue = event_queue_->queue;
    auto chain = queue.pop();
    if (!chain) {
        driver.needs_reset(chain.error().what);
        return;
    }
    if (!*chain) {
        return;  // the driver wants no events yet; the next activation looks again
    }
    ChainWriter writer = (*chain)->writer();
    const virtio_vsock_event event{.id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET};
    const bool has_room = writer.write(event);
    queue.push(std::move(**chain), has_room ? sizeof event : 0);
    tell_of_end_ = false;
    if (queue.interrupt_is_wanted()) {
        driver.used_buffers(event_queue_->index);
    }
}

void Vsock::stop() {
    worker_.stop();
    if (connections_) {
        connections_->leave_queues();
    }
    receive_queue_.reset();
    transmit_queue_.reset();
    event_queue_.reset();
}

void Vsock::reset() {
    stop();
    if (connections_) {
        worker_.call([this] { connections_.reset(); });  // its sockets are closed there
    }
    tell_of_end_ = false;
}

void Vsock::load(StateReader& /*state*/) {
    tell_of_end_ = true;
}

}  // namespace hull::virtio
