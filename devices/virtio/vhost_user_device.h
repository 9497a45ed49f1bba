// A virtio device whose queues another program serves.
#pragma once

#include <linux/virtio_ids.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/worker_thread.h"
#include "devices/virtio/device.h"
#include "devices/virtio/vhost_user.h"

namespace hull::virtio {

/// What makes such a device one of its type.
struct VhostUserKind {
    uint32_t type;                       ///< VIRTIO_ID_
    uint64_t features;                   ///< those of its type that are passed on where the back end has them
    uint64_t own_features = 0;           ///< those that need no back end
    std::vector<uint16_t> queue_sizes;   ///< of each queue
    uint16_t queues_counted_as_one = 1;  ///< by back ends of its type
    VhostUserNeeds needs;
    /// What the driver sees, from what the back end gave, and gave last where it is gone.
    std::function<std::vector<std::byte>(std::span<const std::byte> given, bool is_served)>
        make_configuration;
    /// Why what its back end knows cannot be saved, a clause; empty: it knows nothing that the driver relies
    /// on.
    std::string unsaved{};
    /// Answers a request with an error; how many bytes it wrote.
    std::function<uint32_t(const DescriptorChain& request)> refuse;
    /// Whether what is in this queue waits for a back end: it holds no requests, but room for what comes. A
    /// back end that goes loses what it had taken of it, and that is refused. None: no queue is one of these.
    std::function<bool(uint16_t queue)> waits = nullptr;
};

/// Begins the conversation with a back end that is to serve such a device, over a socket or in place of the
/// clause that says why there is none. Throws Error (bad_file): `tried`, why, `advice`.
VhostUser greet_vhost_user(VhostUserResult<UniqueFd> socket, const VhostUserKind& kind,
                           const std::string& tried, const std::string& advice);

/// The device. Its back end gets the driver's kicks without this process; that it used chains is passed on to
/// the driver by a worker. Where the back end is gone, the driver gets errors, at once for the requests that
/// were under way, until there is one again. But where the one that is gone noted what was in flight, and may
/// come back, requests wait for it for a while: the next one does them again. They wait over a stop() too.
/// Whoever resets one queue meanwhile has made the note of all of them useless, and the others get errors.
class VhostUserDevice final : public VirtioDevice {
  public:
    /// How long requests wait for the next back end.
    static constexpr std::chrono::seconds kComesBackWithin{30};

    /// Looks for a back end that is gone: a connected stream socket that blocks, or none. May wait as long as
    /// VhostUser::kPatience.
    using Find = std::function<UniqueFd()>;

    /// `server` comes from greet_vhost_user() with the same kind. `find` is called once a second while it is
    /// gone, on one thread; none where it does not come back. `name` is for the log.
    VhostUserDevice(VhostUserKind kind, VhostUser server, Find find, std::string name,
                    std::chrono::milliseconds comes_back_within = kComesBackWithin);
    VhostUserDevice(const VhostUserDevice&) = delete;
    VhostUserDevice& operator=(const VhostUserDevice&) = delete;
    ~VhostUserDevice() override { reset(); }

    [[nodiscard]] uint32_t type() const override { return kind_.type; }
    [[nodiscard]] uint64_t features() const override { return (features_ & kind_.features) | own_features(); }
    [[nodiscard]] uint64_t ring_features() const override { return features_ & kRingFeatures; }
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kind_.queue_sizes; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    /// Nothing in it is the driver's to write.
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    /// Takes the queues back from the back end, for which that has VhostUser::kPatience.
    void reset() override;
    void stop() override;
    /// Its configuration space, which must be the same but for what tells whether it is served. Throws Error:
    /// (usage) where its back end has more to save; (bad_file) where that is lost and may owe answers still:
    /// the guest would get errors elsewhere for what is done again here.
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

  private:
    struct Queue {
        ActiveQueue active;
        int call_fd;
    };

    /// What the driver is offered and the back end knows nothing of. Of the reset of a queue it does not: it
    /// gives all of them back, and gets the others again.
    [[nodiscard]] uint64_t own_features() const { return kind_.own_features | feature(VIRTIO_F_RING_RESET); }
    [[nodiscard]] uint64_t passed_on() const { return accepted_ & ~own_features(); }
    // All of these on the worker's thread.
    void serve(int stop_fd);
    [[nodiscard]] bool is_served();
    [[nodiscard]] std::string pass_calls(int stop_fd);
    void lose_server(const std::string& why);
    [[nodiscard]] bool has_ended(int stop_fd);
    [[nodiscard]] bool settle_owed();
    [[nodiscard]] bool refuse_owed(bool was_served);
    [[nodiscard]] tl::expected<bool, QueueError> refuse_taken(VirtQueue& queue) const;
    [[nodiscard]] tl::expected<bool, QueueError> refuse_new(VirtQueue& queue) const;
    void forget_owed();
    void wait_for_server(int stop_fd);
    void reconnect();
    void tell_configuration();
    [[nodiscard]] std::vector<VhostUserRing> rings() const;

    const VhostUserKind kind_;
    const Find find_;
    const std::string name_;
    const uint64_t features_;  // as they were offered first
    const std::chrono::milliseconds comes_back_within_;
    std::vector<std::byte> given_configuration_;  // by the back end; the worker's, while there is one
    mutable std::mutex configuration_mutex_;
    std::vector<std::byte> configuration_;
    std::optional<VhostUser> server_;  // the worker's, while there is one
    bool server_is_missed_ = false;    // told, once each time
    // The next four until a reset(), or until it is settled what a back end owes.
    bool is_owed_by_server_ = false;  // it had the queues, and did not give them back
    std::optional<std::chrono::steady_clock::time_point> lost_at_;  // while it may end what it had begun
    VhostUserInflight inflight_;
    std::optional<std::chrono::steady_clock::time_point> wait_until_;  // for one that does that again
    size_t noted_queues_ = 0;  // those that were active when inflight_ was last in use
    std::chrono::steady_clock::time_point served_since_{};
    std::chrono::steady_clock::time_point look_again_{};  // for a back end that is gone
    uint64_t accepted_ = 0;
    GuestMemory* memory_ = nullptr;  // these two while it is active
    DriverCalls* driver_ = nullptr;
    bool is_log_incomplete_ = false;  // a back end that cannot log has had the queues
    std::vector<Queue> queues_;
    // A back end that is gone may have these still. All that it can do by them is have the driver look.
    std::vector<UniqueFd> calls_;  // by the queue's index
    UniqueFd error_ = make_eventfd();
    WorkerThread worker_;  // last: it uses all of the above
};

}  // namespace hull::virtio
