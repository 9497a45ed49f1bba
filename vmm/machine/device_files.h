// What is behind a machine's disks and network devices, opened by its keeper.
#pragma once

#include <string>
#include <vector>

#include "devices/block/disk_image.h"
#include "devices/net/net.h"
#include "vmm/machine/disk_config.h"
#include "vmm/machine/net_config.h"

namespace hull {

/// The files of a disk that no server serves, locked. `name` is the disk's, in messages. Throws Error as
/// virtio::open_disk_image() does.
virtio::DiskImage open_disk(const DiskConfig& disk, const std::string& name);

/// The other side of a network device of kind tap or socket, one link for each of its pairs of queues.
/// Throws Error (bad_file) where it is missing, in use, or cannot be used.
std::vector<virtio::NetLink> open_net(const NetConfig& net);

}  // namespace hull
