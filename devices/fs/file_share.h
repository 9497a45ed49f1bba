// A shared folder (VIRTIO 1.2, 5.11) whose requests a program of Hull's own answers, over a socket: unlike a
// vhost-user back end (devices/fs/share.h) it sees nothing of the guest's memory.
#pragma once

#include <linux/virtio_config.h>

#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "base/worker_thread.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// Passes the guest's requests on, one after the other, and what is answered back. It looks at nothing of
/// them but the header.
class FileShare final : public VirtioDevice {
  public:
    /// `tag` is as share_kind() takes it. `link` is a SOCK_SEQPACKET socket: each message is a request of
    /// kMostFuseRequest bytes at most, and each that is_answered() comes back as one message with its answer.
    FileShare(const std::string& tag, UniqueFd link);

    [[nodiscard]] uint32_t type() const override;
    [[nodiscard]] uint64_t features() const override { return feature(VIRTIO_F_RING_RESET); }
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    void reset() override;
    /// Throws Error: the server knows files by numbers that no other has.
    void save(StateWriter& state) const override;

  private:
    static constexpr uint16_t kRequests = 1;  ///< the second queue
    /// For what must not wait, which is never answered, and for requests: of 32 pages of data and more.
    static constexpr uint16_t kQueueSizes[] = {128, 128};

    uint32_t serve(const DescriptorChain& chain, bool may_be_answered, int stop_fd);
    uint32_t take_answer(const DescriptorChain& chain, int stop_fd);

    const std::string tag_;
    UniqueFd link_;
    unsigned owed_ = 0;  // answers that nobody waited for; the second queue's worker's
    std::optional<ActiveQueue> queues_[2];
    // Last: they use all of the above.
    WorkerThread workers_[2]{{ThreadKind::file_share, "fs-forget"}, {ThreadKind::file_share, "fs"}};
};

}  // namespace hull::virtio
