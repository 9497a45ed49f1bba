#include "devices/vsock/packet.h"

namespace hull::virtio {

VsockFlow flow_from_guest(const VsockHeader& header) {
    return {.guest_port = header.src_port, .host_port = header.dst_port};
}

VsockHeader reset_of(const VsockHeader& header) {
    VsockHeader reset{};
    reset.src_cid = header.dst_cid;
    reset.dst_cid = header.src_cid;
    reset.src_port = header.dst_port;
    reset.dst_port = header.src_port;
    reset.type = header.type;
    reset.op = VIRTIO_VSOCK_OP_RST;
    return reset;
}

}  // namespace hull::virtio
