// A network device (VIRTIO 1.2, 5.1) whose queues a vhost-user-net server serves.
#pragma once

#include <cstdint>

#include "devices/net/net.h"
#include "devices/virtio/vhost_user_device.h"

namespace hull::virtio {

/// One pair of queues. `mtu` is what the driver is told of as the largest packet, in bytes; 0: nothing. The
/// link is down while there is no server; frames that the driver sends then are lost.
VhostUserKind served_net_kind(const MacAddress& mac, uint16_t mtu);

}  // namespace hull::virtio
