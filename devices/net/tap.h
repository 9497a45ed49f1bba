// A tap device: a network interface of the host whose other end is a file (Linux
// Documentation/networking/tuntap.rst).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace hull::virtio {

/// Opens `queues` (above zero) queues of the tap device `name`, which must be there already and be the
/// caller's to use. Each read and each write, neither of which blocks, is one frame with a struct
/// virtio_net_hdr_v1 before it. Throws Error (bad_file).
std::vector<UniqueFd> open_tap(const std::string& name, uint32_t queues);

/// The largest packet that the host's interface of this name takes, in bytes; 0 where it is not told.
uint16_t interface_mtu(const std::string& name);

/// Whether the host is to send frames to this queue of a device that has several. Answers whether it does so.
bool attach_tap_queue(int fd, bool attach);

/// Lets the host give the guest frames that its driver completes: without checksums, or to be cut into
/// segments, as far as the negotiated `features` (VIRTIO 1.2, 5.1.3) say that it can. Answers whether the
/// host does; it does not where `fd` is no tap device.
bool set_tap_offloads(int fd, uint64_t features);

}  // namespace hull::virtio
