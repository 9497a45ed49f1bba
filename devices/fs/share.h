// A shared folder (VIRTIO 1.2, 5.11), whose queues virtiofsd serves.
#pragma once

#include <linux/virtio_fs.h>

#include <string>

#include "devices/virtio/vhost_user_device.h"

namespace hull::virtio {

/// The most bytes of a tag.
inline constexpr size_t kMostTag = sizeof(virtio_fs_config::tag);

/// What a driver reads of a folder: `tag` is the name by which the guest mounts it, 1 to kMostTag bytes, none
/// of them zero. It has a queue for what must not wait, and one for requests, as many as every virtiofsd
/// serves.
virtio_fs_config share_configuration(const std::string& tag);

/// `tag` is as above.
VhostUserKind share_kind(const std::string& tag);

/// Answers a request of a shared folder's driver with EIO, whatever it asks, and says how many bytes that
/// took: none where there is no room for an answer, since none is due then. Any thread.
uint32_t refuse_fuse_request(const DescriptorChain& request);

}  // namespace hull::virtio
