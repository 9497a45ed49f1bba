// A throw-away layer over a disk: what is written goes into a file of its own, and the disk stays as it is.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "devices/block/backend.h"

namespace hull::virtio {

/// Which sectors (of 512 bytes) of a disk the layer has. Any thread; a sector that is being written belongs
/// to the disk below until it is noted here.
class OverlayMap {
  public:
    /// Of a disk of this many sectors, none of them in the layer. Takes memory only where the layer has some.
    explicit OverlayMap(uint64_t sectors);

    /// How many of `count` sectors (above zero, within the disk) from `first` on are alike, and where these
    /// are.
    struct Run {
        bool in_layer;
        uint64_t sectors;  ///< 1 to count
    };
    [[nodiscard]] Run run(uint64_t first, uint64_t count) const;
    /// From now on the layer has these sectors.
    void add(uint64_t first, uint64_t count);

  private:
    using Word = std::atomic<uint64_t>;
    struct Free {
        void operator()(Word* words) const { std::free(words); }
    };
    [[nodiscard]] bool has(uint64_t sector) const;

    std::unique_ptr<Word[], Free> words_;
};

/// The place of a layer's file among those of the backend below it; the disk is 0.
inline constexpr uint16_t kLayerFile = 1;

/// Puts a layer over a backend on both files. Reads that lie in both end with what is in the first of them:
/// the rest is asked for again. There is nothing to flush, since the layer goes away with the machine.
class OverlayBackend final : public LayeredBackend {
  public:
    /// `map` must outlive the backend.
    OverlayBackend(std::unique_ptr<BlockBackend> files, OverlayMap& map, uint16_t queue_size);

    void start(uint16_t slot, const BlockOperation& operation) override;
    bool wait(std::vector<End>& ends, std::chrono::nanoseconds most) override;

  private:
    struct Slot {
        BlockOperation operation{};
        std::vector<iovec> memory;
    };

    OverlayMap& map_;
    std::vector<Slot> slots_;
    std::vector<End> ended_;  // without anything to do
};

}  // namespace hull::virtio
