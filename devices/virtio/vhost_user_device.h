// A virtio device whose queues another program serves.
#pragma once

#include <linux/virtio_ids.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
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
    uint32_t type;                      ///< VIRTIO_ID_
    uint64_t features;                  ///< those of its type that are passed on where the back end has them
    std::vector<uint16_t> queue_sizes;  ///< of each queue
    size_t configuration_size;          ///< bytes of the back end's configuration space; 0: it has none
    /// What the driver sees, from what the back end gave.
    std::function<std::vector<std::byte>(std::span<const std::byte> given)> make_configuration;
    /// Answers a request with an error; how many bytes it wrote.
    std::function<uint32_t(const DescriptorChain& request)> refuse;
};

/// Begins the conversation with a back end that is to serve such a device, over a socket or in place of the
/// clause that says why there is none. Throws Error (bad_file): `tried`, why, `advice`.
VhostUser greet_vhost_user(VhostUserResult<UniqueFd> socket, const VhostUserKind& kind,
                           const std::string& tried, const std::string& advice);

/// The device. Its back end gets the driver's kicks without this process; that it used chains is passed on to
/// the driver by a worker. Where the back end is gone, the driver gets errors, at once for the requests that
/// were under way, until there is one again.
class VhostUserDevice final : public VirtioDevice {
  public:
    /// `server` comes from greet_vhost_user() with the same kind. `path` is where to look for the back end
    /// when it is gone; empty where it does not come back. `name` is for the log.
    VhostUserDevice(VhostUserKind kind, VhostUser server, std::filesystem::path path, std::string name);
    VhostUserDevice(const VhostUserDevice&) = delete;
    VhostUserDevice& operator=(const VhostUserDevice&) = delete;
    ~VhostUserDevice() override { reset(); }

    [[nodiscard]] uint32_t type() const override { return kind_.type; }
    [[nodiscard]] uint64_t features() const override { return features_ & kind_.features; }
    [[nodiscard]] uint64_t ring_features() const override { return features_ & kRingFeatures; }
    [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kind_.queue_sizes; }
    void read_configuration(uint64_t offset, std::span<std::byte> data) const override;
    /// Nothing in it is the driver's to write.
    void write_configuration(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
    void activate(Activation activation) override;
    /// Takes the queues back from the back end, for which that has VhostUser::kPatience.
    void reset() override;

  private:
    struct Queue {
        explicit Queue(ActiveQueue given) : active{std::move(given)} {}
        ActiveQueue active;
        UniqueFd call = make_eventfd();
    };

    // All of these on the worker's thread.
    void serve(int stop_fd);
    [[nodiscard]] bool is_served();
    [[nodiscard]] std::string pass_calls(int stop_fd);
    [[nodiscard]] bool refuse_owed();
    void wait_for_server(int stop_fd);
    void reconnect();
    [[nodiscard]] std::vector<VhostUserRing> rings() const;

    const VhostUserKind kind_;
    const std::filesystem::path path_;
    const std::string name_;
    const uint64_t features_;  // as they were offered first
    mutable std::mutex configuration_mutex_;
    std::vector<std::byte> configuration_;
    std::optional<VhostUser> server_;                     // the worker's, while there is one
    bool server_is_missed_ = false;                       // told, once each time
    std::chrono::steady_clock::time_point look_again_{};  // for a back end that is gone
    uint64_t accepted_ = 0;
    GuestMemory* memory_ = nullptr;  // these two while it is active
    DriverCalls* driver_ = nullptr;
    std::vector<Queue> queues_;
    UniqueFd error_ = make_eventfd();
    std::optional<WorkerThread> worker_;  // last: it uses all of the above
};

}  // namespace hull::virtio
