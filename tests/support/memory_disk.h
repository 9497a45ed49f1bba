// A disk in memory, which ends the program where a device asks for what is not on it.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "devices/block/backend.h"

namespace hull::test {

/// Each operation has ended when it was started; there are no kicks, so wait() never sleeps.
class MemoryDisk final : public virtio::BlockBackend {
  public:
    explicit MemoryDisk(size_t size) : contents(size) {}

    void start(uint16_t slot, const virtio::BlockOperation& operation) override {
        using Kind = virtio::BlockOperation::Kind;
        if (operation.offset > contents.size() || operation.length > contents.size() - operation.offset) {
            std::abort();
        }
        uint64_t at = operation.offset;
        for (const iovec& segment : operation.memory) {
            if (segment.iov_len > operation.offset + operation.length - at) {
                std::abort();
            }
            if (operation.kind == Kind::read) {
                std::memcpy(segment.iov_base, contents.data() + at, segment.iov_len);
            } else {
                std::memcpy(contents.data() + at, segment.iov_base, segment.iov_len);
            }
            at += segment.iov_len;
        }
        if (operation.memory.empty()) {
            std::fill_n(contents.begin() + static_cast<ptrdiff_t>(operation.offset), operation.length,
                        std::byte{0});
        }
        ended_.push_back({slot, static_cast<int32_t>(at - operation.offset)});
    }
    bool wait(std::vector<End>& ends, std::chrono::nanoseconds /*most*/) override {
        ends.insert(ends.end(), ended_.begin(), ended_.end());
        ended_.clear();
        return true;
    }

    std::vector<std::byte> contents;

  private:
    std::vector<End> ended_;
};

}  // namespace hull::test
