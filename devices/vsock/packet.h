// The packets of a socket device, and the flows that they belong to (VIRTIO 1.2, 5.10.6).
#pragma once

#include <linux/virtio_vsock.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace hull::virtio {

using VsockHeader = virtio_vsock_hdr;

/// 5.10.3: the feature's bit, which Linux's header does not name.
inline constexpr unsigned kVsockStreamFeature = 0;
/// 5.10.6.5: both hints of a SHUTDOWN.
inline constexpr uint32_t kVsockShutdownBoth = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;

/// What tells one stream from another: its ports. The addresses are always the guest's and the host's.
struct VsockFlow {
    uint32_t guest_port = 0;
    uint32_t host_port = 0;
    friend bool operator==(const VsockFlow&, const VsockFlow&) = default;
};

struct VsockFlowHash {
    size_t operator()(const VsockFlow& flow) const {
        return std::hash<uint64_t>{}(uint64_t{flow.guest_port} << 32 | flow.host_port);
    }
};

/// The flow of a packet that the guest sent.
VsockFlow flow_from_guest(const VsockHeader& header);

/// The RST that answers a packet of the guest's, whatever is wrong with that.
VsockHeader reset_of(const VsockHeader& header);

}  // namespace hull::virtio
