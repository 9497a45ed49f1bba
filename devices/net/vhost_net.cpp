#include "devices/net/vhost_net.h"

#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <vector>

#include "devices/net/layout.h"

namespace hull::virtio {

namespace {

/// Of what a driver may have negotiated, what is the rings' and the frames' affair and not the tap device's.
constexpr uint64_t kFeatures = feature(VIRTIO_F_VERSION_1) | feature(VIRTIO_RING_F_INDIRECT_DESC) |
                               feature(VIRTIO_RING_F_EVENT_IDX) | feature(VIRTIO_NET_F_MRG_RXBUF);

}  // namespace

std::optional<UniqueFd> open_vhost_net() {
    UniqueFd fd{open("/dev/vhost-net", O_RDWR | O_CLOEXEC)};
    uint64_t features = 0;
    if (!fd.valid() || ioctl(fd.get(), VHOST_GET_FEATURES, &features) != 0 ||
        (features & kFeatures) != kFeatures) {
        return std::nullopt;
    }
    return fd;
}

bool VhostNet::set_memory(const GuestMemory& memory) const {
    const size_t count = memory.regions().size();
    // A struct vhost_memory ends in as many regions as it says.
    static_assert(sizeof(vhost_memory) % alignof(vhost_memory_region) == 0);
    std::vector<vhost_memory_region> buffer(count + 1);
    static_assert(sizeof(vhost_memory) <= sizeof(vhost_memory_region));
    auto* table = reinterpret_cast<std::byte*>(buffer.data());
    vhost_memory head{};
    head.nregions = static_cast<uint32_t>(count);
    std::memcpy(table, &head, sizeof head);
    for (size_t index = 0; index < count; ++index) {
        const GuestMemory::Region& region = memory.regions()[index];
        const vhost_memory_region entry{.guest_phys_addr = raw(region.range.start()),
                                        .memory_size = region.range.size(),
                                        .userspace_addr = reinterpret_cast<uintptr_t>(region.mapping.data()),
                                        .flags_padding = 0};
        std::memcpy(table + sizeof head + index * sizeof entry, &entry, sizeof entry);
    }
    return ioctl(fd_.get(), VHOST_SET_MEM_TABLE, table) == 0;
}

bool VhostNet::hand_over(unsigned index, const ActiveQueue& queue, int call_fd, int link_fd) const {
    const VirtQueue::Areas areas = queue.queue.areas();
    const vhost_vring_state size{index, queue.queue.size()};
    const vhost_vring_state first{index, queue.queue.next_available()};
    const vhost_vring_addr addresses{.index = index,
                                     .flags = 0,
                                     .desc_user_addr = reinterpret_cast<uintptr_t>(areas.descriptors),
                                     .used_user_addr = reinterpret_cast<uintptr_t>(areas.used),
                                     .avail_user_addr = reinterpret_cast<uintptr_t>(areas.available),
                                     .log_guest_addr = 0};
    const vhost_vring_file kick{index, queue.kick_fd};
    const vhost_vring_file call{index, call_fd};
    const vhost_vring_file link{index, link_fd};
    return ioctl(fd_.get(), VHOST_SET_VRING_NUM, &size) == 0 &&
           ioctl(fd_.get(), VHOST_SET_VRING_BASE, &first) == 0 &&
           ioctl(fd_.get(), VHOST_SET_VRING_ADDR, &addresses) == 0 &&
           ioctl(fd_.get(), VHOST_SET_VRING_KICK, &kick) == 0 &&
           ioctl(fd_.get(), VHOST_SET_VRING_CALL, &call) == 0 &&
           ioctl(fd_.get(), VHOST_NET_SET_BACKEND, &link) == 0;
}

bool VhostNet::start(const GuestMemory& memory, uint64_t features, const ActiveQueue& receive,
                     const ActiveQueue& transmit, int link_fd) {
    if (!is_owner_) {
        is_owner_ = ioctl(fd_.get(), VHOST_SET_OWNER) == 0;
    }
    features &= kFeatures;
    const bool done = is_owner_ && ioctl(fd_.get(), VHOST_SET_FEATURES, &features) == 0 &&
                      set_memory(memory) && hand_over(0, receive, receive_call_.get(), link_fd) &&
                      hand_over(1, transmit, transmit_call_.get(), link_fd);
    if (!done) {
        stop();
    }
    return done;
}

void VhostNet::stop() {
    for (const unsigned index : {0U, 1U}) {
        const vhost_vring_file none{index, -1};
        ioctl(fd_.get(), VHOST_NET_SET_BACKEND, &none);
    }
}

void VhostNet::relay_calls(int stop_fd, DriverCalls& driver, const ActiveQueue& receive,
                           const ActiveQueue& transmit) const {
    std::array<pollfd, 3> waits{};
    waits[0] = {stop_fd, POLLIN, 0};
    waits[1] = {receive_call_.get(), POLLIN, 0};
    waits[2] = {transmit_call_.get(), POLLIN, 0};
    for (;;) {
        if (poll(waits.data(), waits.size(), -1) < 0) {
            continue;
        }
        if (waits[0].revents != 0) {
            return;
        }
        if (waits[1].revents != 0) {
            drain_eventfd(receive_call_.get());
            driver.used_buffers(receive.index);
        }
        if (waits[2].revents != 0) {
            drain_eventfd(transmit_call_.get());
            driver.used_buffers(transmit.index);
        }
    }
}

}  // namespace hull::virtio
