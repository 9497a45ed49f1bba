// The block device (VIRTIO 1.2, 5.2): a disk.
#pragma once

#include <linux/virtio_blk.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/worker_thread.h"
#include "devices/block/backend.h"
#include "devices/block/block_queue.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// What a disk is.
struct BlockSettings {
    uint64_t size;              ///< bytes, a multiple of block_size
    uint32_t block_size = 512;  ///< bytes, a power of two from 512 to 4096
    bool readonly = false;
    std::string id;  ///< what the driver can ask for; longer than VIRTIO_BLK_ID_BYTES is cut
    uint64_t requests_per_second = 0;  ///< the most that are served; 0: any number
    uint64_t bytes_per_second = 0;     ///< the most that are read and written; 0: any number
    uint16_t queues = 1;               ///< 1 to kMostBlockQueues, each with a thread of its own
};

inline constexpr uint16_t kMostBlockQueues = 64;

/// A disk whose contents are behind backends, one for each queue.
class Block final : public VirtioDevice {
  public:
    Block(BlockSettings settings, BlockBackendMaker make_backend);

    [[nodiscard]] uint32_t type() const override;
    [[nodiscard]] uint64_t features() const override;
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void prepare(std::span<const int> kick_fds) override;
    void activate(Activation activation) override;
    /// Waits for what is under way.
    void reset() override;
    /// The driver knows the disk's size and block size, so they must be the same.
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

    static constexpr uint16_t kQueueSize = 256;

  private:
    /// What serves a queue.
    struct Worker {
        Worker(const BlockBackendMaker& make_backend, int kick_fd);
        std::optional<ActiveQueue> queue;
        // These two from the thread's beginning on.
        std::unique_ptr<BlockBackend> backend;
        std::optional<WakePolicy> policy;
        WorkerThread thread;  // last: it uses all of the above
    };

    const BlockSettings settings_;
    const BlockBackendMaker make_backend_;
    const std::vector<uint16_t> queue_sizes_;
    virtio_blk_config configuration_{};
    BlockState state_;
    std::vector<std::unique_ptr<Worker>> workers_;  // by the queue's index
};

}  // namespace hull::virtio
