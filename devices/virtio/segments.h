// Pieces of a guest's memory that belong together.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hull::virtio {

/// Appends the bytes of `segments` from `skipped` on, `size` of them, or as many as there are.
inline void append_part(std::span<const iovec> segments, uint64_t skipped, uint64_t size,
                        std::vector<iovec>& target) {
    for (const iovec& segment : segments) {
        if (size == 0) {
            return;
        }
        const auto before = std::min<uint64_t>(skipped, segment.iov_len);
        const auto taken = std::min<uint64_t>(size, segment.iov_len - before);
        if (taken > 0) {
            target.push_back({static_cast<std::byte*>(segment.iov_base) + before, taken});
        }
        skipped -= before;
        size -= taken;
    }
}

}  // namespace hull::virtio
