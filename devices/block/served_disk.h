// A disk (VIRTIO 1.2, 5.2) whose queues a vhost-user-blk server serves.
#pragma once

#include "devices/virtio/vhost_user_device.h"

namespace hull::virtio {

/// With so many queues (1 to kMostBlockQueues).
VhostUserKind served_disk_kind(uint32_t queues);

}  // namespace hull::virtio
