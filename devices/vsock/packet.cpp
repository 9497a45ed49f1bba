#include "devices/vsock/packet.h"

#include <algorithm>

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

void append_part(std::vector<iovec>& target, std::span<const iovec> segments, size_t offset, size_t size) {
    for (const iovec& segment : segments) {
        if (offset >= segment.iov_len) {
            offset -= segment.iov_len;
            continue;
        }
        const size_t part = std::min(size, segment.iov_len - offset);
        if (part == 0) {
            return;
        }
        target.push_back({static_cast<std::byte*>(segment.iov_base) + offset, part});
        size -= part;
        offset = 0;
    }
}

}  // namespace hull::virtio
