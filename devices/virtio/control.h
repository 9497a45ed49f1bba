// What all transports have in common: a device's status, its features and its queues (VIRTIO 1.2, 2.1 to 2.6
// and 3.1). A transport turns accesses to its registers into these calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "base/log.h"
#include "base/state.h"
#include "base/unique_fd.h"
#include "devices/virtio/device.h"

namespace hull::virtio {

/// One device's conversation with its driver. The transport calls one member at a time, but for the three of
/// DriverCalls, which the device calls from any thread.
class DeviceControl final : public DriverCalls, public Stateful {
  public:
    /// `interrupt` is called from any thread for used buffers of a queue and, with kConfigurationVector, for
    /// a change of the configuration. `name` is for the log. Everything given must outlive this object.
    /// Throws what the device's prepare() throws.
    DeviceControl(VirtioDevice& device, GuestMemory& memory, std::function<void(uint32_t)> interrupt,
                  std::string name);
    DeviceControl(const DeviceControl&) = delete;
    DeviceControl& operator=(const DeviceControl&) = delete;
    ~DeviceControl() override { reset(); }

    static constexpr uint32_t kConfigurationVector = 0xffff'ffff;

    /// VIRTIO 1.2, 2.1. A write of 0 resets the device, and it is reset when the call returns. A bit that the
    /// driver may not set yet is not set; none is ever cleared otherwise.
    [[nodiscard]] uint8_t status() const { return status_; }
    void write_status(uint8_t value);

    /// 32 bits of what is offered, or accepted; `half` 0 or 1, others read as zero and are not accepted.
    /// Once FEATURES_OK is set nothing more is accepted.
    [[nodiscard]] uint32_t offered_features(uint32_t half) const;
    [[nodiscard]] uint32_t accepted_features(uint32_t half) const;
    void accept_features(uint32_t half, uint32_t features);

    /// A queue's registers; a queue that is not there has a size limit of 0 and takes nothing. From enable()
    /// on nothing is changed but by a reset; once the device runs, nothing at all without
    /// VIRTIO_F_RING_RESET.
    [[nodiscard]] uint16_t queue_size_limit(uint32_t queue) const;
    void configure_queue(uint32_t index, const std::function<void(QueueConfig&)>& change);
    /// Changes the upper or the lower 32 bits of one of its areas' addresses.
    void set_queue_address(uint32_t index, GuestAddress QueueConfig::*area, bool upper, uint32_t value);
    /// As it is configured now; a queue that is not there is as one after a reset.
    [[nodiscard]] QueueConfig queue_config(uint32_t index) const;
    void enable_queue(uint32_t index);
    /// With VIRTIO_F_RING_RESET, a queue that is enabled is as after a reset when this returns, and may be
    /// configured and enabled again (2.6.1). The device stops serving its other queues for that moment. False
    /// where nothing was done.
    bool reset_queue(uint32_t index);
    [[nodiscard]] bool queue_is_enabled(uint32_t index) const;
    /// An eventfd for each queue, for the transport's doorbell; -1 where there is no such queue.
    [[nodiscard]] int kick_fd(uint32_t index) const;

    /// Changes whenever the configuration space does.
    [[nodiscard]] uint32_t configuration_generation() const { return generation_; }
    [[nodiscard]] VirtioDevice& device() const { return device_; }

    void used_buffers(uint16_t queue) override;
    void configuration_changed() override;
    void needs_reset(const char* why) override;

    /// The device has its queues, with what was made available there and not used, in guest memory alone.
    void quiesce() override;
    /// Calls the driver for each queue once, since what was given back at the end may not have been told.
    void resume() override;
    void save(StateWriter& state) const override;
    /// The device's features may be more than those of the one that was saved, not fewer.
    void load(StateReader& state) override;

  private:
    struct Queue {
        QueueConfig config;
        bool enabled = false;
        bool used = false;  // the device has had it since it was enabled
        UniqueFd kick = make_eventfd();
    };

    void reset();
    void activate();
    /// Whether a queue that is not enabled may be configured and enabled.
    [[nodiscard]] bool takes_queues() const { return !active_ || may_reset_queues(); }
    [[nodiscard]] bool may_reset_queues() const;
    [[nodiscard]] uint64_t all_offered_features() const;

    VirtioDevice& device_;
    GuestMemory& memory_;
    const std::function<void(uint32_t)> interrupt_;
    const std::string name_;
    std::vector<Queue> queues_;
    std::atomic<uint8_t> status_{0};
    uint64_t accepted_ = 0;
    bool active_ = false;
    bool quiesced_ = false;  // it was active, or is to be
    std::atomic<uint32_t> generation_{0};
    RateLimitedLog resets_needed_;
};

}  // namespace hull::virtio
