// The network device (VIRTIO 1.2, 5.1).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/unique_fd.h"
#include "base/worker_thread.h"
#include "devices/net/net_queues.h"
#include "devices/net/vhost_net.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

using MacAddress = std::array<uint8_t, 6>;

/// What the other side spares the guest (5.1.3).
enum class NetOffloads {
    none,     ///< nothing
    checked,  ///< to look at the checksums of the frames that come
    all,      ///< checksums and segments in both directions, which only a tap device completes
};

struct NetSettings {
    MacAddress mac{};
    uint16_t mtu = 0;  ///< bytes, at least 68; 0: none is announced
    NetOffloads offloads = NetOffloads::none;
    uint64_t frames_per_second = 0;  ///< the most each way; 0: any number
    uint64_t bytes_per_second = 0;   ///< likewise
    bool stream = false;             ///< the links are stream sockets (see FrameStream)
    /// Looks for a stream's other side when that is gone: a connected stream socket that does not block, or
    /// none. May wait, but not for long; called on one thread. None: it is not looked for.
    std::function<UniqueFd()> find_stream = nullptr;
    std::string name;  ///< for the log
};

inline constexpr uint16_t kMostNetQueues = 8;

/// The other side of a pair of queues.
struct NetLink {
    UniqueFd fd;  ///< see Net
    UniqueFd
        vhost;  ///< from open_vhost_net(): the host's kernel is to serve the queues, without limits; or none
};

/// A network device whose other side is a descriptor that takes and gives one frame a write and a read, with
/// a struct virtio_net_hdr_v1 before it: a tap device, or a socket that keeps messages apart. It does not
/// block. With several descriptors, which are the queues of one tap device, it has as many pairs of queues,
/// of which the driver uses as many as it likes (5.1.6.5.5). A thread carries
/// both directions of a pair, or tells the driver of what the host's kernel did.
class Net final : public VirtioDevice {
  public:
    /// 1 to kMostNetQueues links.
    Net(NetSettings settings, std::vector<NetLink> links);

    [[nodiscard]] uint32_t type() const override;
    [[nodiscard]] uint64_t features() const override;
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    void stop() override;
    void reset() override;
    /// How many pairs the driver uses.
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

  private:
    /// Two queues and what is at their other side.
    struct Pair {
        Pair(NetLink given, bool is_stream, std::string name)
            : link{std::move(given.fd)}, worker{ThreadKind::net, std::move(name)} {
            if (is_stream) {
                stream.emplace(link.get());
            }
            if (given.vhost.valid()) {
                vhost.emplace(std::move(given.vhost));
            }
        }
        UniqueFd link;
        std::optional<FrameStream> stream;  ///< outlives a reset, which comes in the middle of a frame too
        std::optional<VhostNet> vhost;
        bool attached = true;  ///< the host sends frames there
        std::optional<ActiveQueue> receive;
        std::optional<ActiveQueue> transmit;
        WorkerThread worker;  // last: it uses the queues
    };

    [[nodiscard]] NetQueues::LinkWatch watch(Pair& pair, DriverCalls& driver);
    /// The name of a pair, for the log and its thread.
    [[nodiscard]] std::string name_of_pair(size_t number) const;
    void start(Pair& pair, size_t number, const Activation& activation);
    /// On the pair's thread, until it is to stop: by the host's kernel, if that takes the queues.
    [[nodiscard]] bool serve_by_kernel(Pair& pair, GuestMemory& memory, uint64_t features,
                                       DriverCalls& driver, int stop_fd);
    /// Answers a request of the control queue: how many bytes it wrote.
    uint32_t control(const DescriptorChain& chain);
    bool use_pairs(size_t count);

    const NetSettings settings_;
    std::vector<uint16_t> queue_sizes_;
    NetLimit to_guest_;
    NetLimit from_guest_;
    std::atomic<bool> link_is_up_{true};
    RateLimitedLog log_;  // a driver can start the device as often as it likes
    std::vector<std::unique_ptr<Pair>> pairs_;
    size_t pairs_used_ = 1;  // as the driver has asked for; the control queue's worker changes it
    std::optional<ActiveQueue> control_queue_;
    std::optional<WorkerThread> control_worker_;  // last: it uses the above
};

}  // namespace hull::virtio
