#include "devices/virtio/descriptor_chain.h"

#include <atomic>

namespace hull::virtio {

namespace {

/// Calls copy(memory, offset into the whole, size) for the next `size` bytes of `segments`, which hold as
/// many, and moves on behind them.
template <typename Copy>
void advance(std::span<const iovec>& segments, size_t& offset, size_t size, Copy copy) {
    for (size_t done = 0; done < size;) {
        const iovec& segment = segments.front();
        const size_t part = std::min(size - done, segment.iov_len - offset);
        copy(static_cast<std::byte*>(segment.iov_base) + offset, done, part);
        done += part;
        offset += part;
        if (offset == segment.iov_len) {
            segments = segments.subspan(1);
            offset = 0;
        }
    }
}

}  // namespace

bool ChainReader::read_bytes(std::span<std::byte> target) {
    if (target.size() > remaining_) {
        return false;
    }
    advance(segments_, offset_, target.size(), [&](const std::byte* memory, size_t done, size_t size) {
        std::memcpy(target.data() + done, memory, size);
    });
    // Keeps the compiler from reading guest memory again where it needs the copy once more.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    remaining_ -= target.size();
    return true;
}

bool ChainWriter::write_bytes(std::span<const std::byte> source) {
    if (source.size() > remaining_) {
        return false;
    }
    advance(segments_, offset_, source.size(), [&](std::byte* memory, size_t done, size_t size) {
        std::memcpy(memory, source.data() + done, size);
    });
    remaining_ -= source.size();
    return true;
}

bool ChainWriter::skip(size_t count) {
    if (count > remaining_) {
        return false;
    }
    advance(segments_, offset_, count, [](std::byte*, size_t, size_t) {});
    remaining_ -= count;
    return true;
}

}  // namespace hull::virtio
