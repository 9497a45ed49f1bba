// A tap device: a network interface of the host whose other end is a file (Linux
// Documentation/networking/tuntap.rst).
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.h"

namespace hull::virtio {

/// Opens the end of the tap device `name`, which must be there already and be the caller's to use. Each read
/// and each write, neither of which blocks, is one frame with a struct virtio_net_hdr_v1 before it. Throws
/// Error (bad_file).
UniqueFd open_tap(const std::string& name);

/// Lets the host give the guest frames that its driver completes: without checksums, or to be cut into
/// segments, as far as the negotiated `features` (VIRTIO 1.2, 5.1.3) say that it can. Answers whether the
/// host does; it does not where `fd` is no tap device.
bool set_tap_offloads(int fd, uint64_t features);

}  // namespace hull::virtio
