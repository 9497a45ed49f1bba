// A disk's backend that does nothing by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "devices/block/backend.h"

namespace hull::test {

/// Keeps what it is asked for; the test ends it.
class ManualBackend final : public virtio::BlockBackend {
  public:
    void start(uint16_t slot, const virtio::BlockOperation& operation) override {
        started.push_back({slot, operation});
    }
    bool wait(std::vector<End>& given, std::chrono::nanoseconds /*most*/) override {
        given.insert(given.end(), ends.begin(), ends.end());
        ends.clear();
        return true;
    }

    struct Started {
        uint16_t slot;
        virtio::BlockOperation operation;
    };
    std::vector<Started> started;
    std::vector<End> ends;  ///< what the next wait() tells
};

}  // namespace hull::test
