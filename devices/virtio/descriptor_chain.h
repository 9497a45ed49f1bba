// One request of a driver's: memory that the device reads, then memory that it writes.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

namespace hull::virtio {

/// Reads the device-readable part of a chain from front to back, and nothing else. The guest may change what
/// is read at any moment: copy, then check, then use. One thread.
class ChainReader {
  public:
    /// `size` is that of all segments together.
    ChainReader(std::span<const iovec> segments, size_t size) : segments_{segments}, remaining_{size} {}

    /// Bytes not yet read.
    [[nodiscard]] size_t remaining() const { return remaining_; }
    /// The next sizeof(T) bytes; nothing, and nothing taken, where fewer are left.
    template <typename T>
    requires std::is_trivially_copyable_v<T> std::optional<T> read() {
        T value;
        // As drivers lay headers out: in one piece.
        if (!segments_.empty() && segments_.front().iov_len - offset_ >= sizeof value) {
            std::memcpy(&value, static_cast<const std::byte*>(segments_.front().iov_base) + offset_,
                        sizeof value);
            std::atomic_signal_fence(std::memory_order_seq_cst);  // as in read_bytes()
            offset_ += sizeof value;
            remaining_ -= sizeof value;
            if (offset_ == segments_.front().iov_len) {
                segments_ = segments_.subspan(1);
                offset_ = 0;
            }
            return value;
        }
        if (!read_bytes(std::as_writable_bytes(std::span{&value, 1}))) {
            return std::nullopt;
        }
        return value;
    }
    /// Fills `target`; false, and nothing taken, where fewer bytes are left.
    bool read_bytes(std::span<std::byte> target);

  private:
    std::span<const iovec> segments_;
    size_t offset_ = 0;  // into the first segment
    size_t remaining_;
};

/// Writes the device-writable part of a chain from front to back, and nothing else. One thread.
class ChainWriter {
  public:
    /// `size` is that of all segments together.
    ChainWriter(std::span<const iovec> segments, size_t size) : segments_{segments}, remaining_{size} {}

    /// Bytes not yet written.
    [[nodiscard]] size_t remaining() const { return remaining_; }
    /// False, with nothing written, where there is no room for all of it.
    template <typename T>
    requires std::is_trivially_copyable_v<T>
    bool write(const T& value) { return write_bytes(std::as_bytes(std::span{&value, 1})); }
    bool write_bytes(std::span<const std::byte> source);
    /// Leaves `count` bytes as they are; false, and none left out, where there are fewer.
    bool skip(size_t count);

  private:
    std::span<const iovec> segments_;
    size_t offset_ = 0;
    size_t remaining_;
};

/// A chain of descriptors that was checked whole when it was popped (VIRTIO 1.2, 2.7.5): it ends, lies in
/// guest memory, and has its device-readable part before its device-writable one. It stays valid until it is
/// given back to its queue, which must happen to each. Moved, never copied.
class DescriptorChain {
  public:
    DescriptorChain(uint16_t head, std::span<const iovec> readable, uint32_t readable_size,
                    std::span<const iovec> writable, uint32_t writable_size)
        : head_{head},
          readable_size_{readable_size},
          writable_size_{writable_size},
          readable_{readable},
          writable_{writable} {}
    DescriptorChain(DescriptorChain&& other) noexcept = default;
    DescriptorChain& operator=(DescriptorChain&& other) noexcept = default;
    DescriptorChain(const DescriptorChain&) = delete;
    DescriptorChain& operator=(const DescriptorChain&) = delete;
    ~DescriptorChain() = default;

    /// The index of its first descriptor, below the queue's size: no other chain in flight has the same.
    [[nodiscard]] uint16_t head() const { return head_; }
    /// Host memory of either part, for I/O without a copy. No segment is empty.
    [[nodiscard]] std::span<const iovec> readable() const { return readable_; }
    [[nodiscard]] std::span<const iovec> writable() const { return writable_; }
    /// Bytes of either part.
    [[nodiscard]] uint32_t readable_size() const { return readable_size_; }
    [[nodiscard]] uint32_t writable_size() const { return writable_size_; }
    [[nodiscard]] ChainReader reader() const { return {readable_, readable_size_}; }
    [[nodiscard]] ChainWriter writer() const { return {writable_, writable_size_}; }

  private:
    uint16_t head_;
    uint32_t readable_size_;
    uint32_t writable_size_;
    std::span<const iovec> readable_;
    std::span<const iovec> writable_;
};

}  // namespace hull::virtio
