#include "devices/virtio/control.h"

#include <linux/virtio_config.h>

#include <exception>
#include <utility>

namespace hull::virtio {

namespace {

constexpr uint8_t kFound = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
constexpr uint8_t kReady = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
constexpr uint8_t kEnded = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET;

}  // namespace

DeviceControl::DeviceControl(VirtioDevice& device, GuestMemory& memory,
                             std::function<void(uint32_t)> interrupt, std::string name)
    : device_{device},
      memory_{memory},
      interrupt_{std::move(interrupt)},
      name_{std::move(name)},
      queues_(device.queue_sizes().size()) {
    std::vector<int> kick_fds;
    for (const Queue& queue : queues_) {
        kick_fds.push_back(queue.kick.get());
    }
    device_.prepare(kick_fds);
}

uint64_t DeviceControl::all_offered_features() const {
    return device_.features() | device_.ring_features();
}

uint32_t DeviceControl::offered_features(uint32_t half) const {
    return half < 2 ? static_cast<uint32_t>(all_offered_features() >> (32 * half)) : 0;
}

uint32_t DeviceControl::accepted_features(uint32_t half) const {
    return half < 2 ? static_cast<uint32_t>(accepted_ >> (32 * half)) : 0;
}

void DeviceControl::accept_features(uint32_t half, uint32_t features) {
    if (half < 2 && (status_ & VIRTIO_CONFIG_S_FEATURES_OK) == 0) {
        const uint64_t mask = uint64_t{0xffff'ffff} << (32 * half);
        accepted_ = (accepted_ & ~mask) | uint64_t{features} << (32 * half);
    }
}

void DeviceControl::write_status(uint8_t value) {
    if (value == 0) {
        reset();
        return;
    }
    const auto added = static_cast<uint8_t>(value & ~status_);
    status_ |= added & (kFound | VIRTIO_CONFIG_S_FAILED);
    // 2.2: the driver accepts a subset of what was offered, and nothing here works as before version 1.
    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && (status_ & kFound) == kFound &&
        (accepted_ & ~all_offered_features()) == 0 && (accepted_ & feature(VIRTIO_F_VERSION_1)) != 0) {
        status_ |= VIRTIO_CONFIG_S_FEATURES_OK;
    }
    if ((added & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && (status_ & VIRTIO_CONFIG_S_FEATURES_OK) != 0 &&
        (status_ & kEnded) == 0) {
        status_ |= VIRTIO_CONFIG_S_DRIVER_OK;
        activate();
    }
}

void DeviceControl::activate() {
    Activation activation{.features = accepted_, .queues = {}, .memory = memory_, .driver = *this};
    for (size_t index = 0; index < queues_.size(); ++index) {
        Queue& queue = queues_[index];
        if (!queue.enabled) {
            continue;
        }
        auto made = VirtQueue::make(memory_, queue.config, accepted_);
        if (!made || made->size() > device_.queue_sizes()[index]) {
            needs_reset(made ? "a queue is larger than it may be" : made.error().what);
            return;
        }
        if (std::exchange(queue.used, true)) {
            made->resume();
        }
        activation.queues.push_back({static_cast<uint16_t>(index), std::move(*made), queue.kick.get()});
    }
    active_ = true;
    try {
        device_.activate(std::move(activation));
    } catch (const std::exception& error) {
        // The host has no more memory: that costs this device only.
        active_ = false;
        device_.reset();
        needs_reset(error.what());
    }
}

bool DeviceControl::may_reset_queues() const {
    return (status_ & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && (accepted_ & feature(VIRTIO_F_RING_RESET)) != 0;
}

void DeviceControl::quiesce() {
    if (std::exchange(active_, false)) {
        device_.stop();
        quiesced_ = true;
    }
}

void DeviceControl::resume() {
    if (!std::exchange(quiesced_, false)) {
        return;
    }
    // Nobody calls needs_reset() any more.
    if ((status_ & VIRTIO_CONFIG_S_NEEDS_RESET) == 0) {
        activate();
    }
    if (!active_) {
        device_.reset();
        return;
    }
    for (size_t index = 0; index < queues_.size(); ++index) {
        if (queues_[index].enabled) {
            interrupt_(static_cast<uint32_t>(index));
        }
    }
}

void DeviceControl::save(StateWriter& state) const {
    state.begin(name_);
    state.put(device_.type());
    state.put(accepted_);
    state.put(status_.load());
    state.put(generation_.load());
    state.put(static_cast<uint16_t>(queues_.size()));
    for (const Queue& queue : queues_) {
        state.put(queue.config.size);
        for (const GuestAddress area :
             {queue.config.descriptor_area, queue.config.driver_area, queue.config.device_area}) {
            state.put(raw(area));
        }
        state.put(queue.enabled);
    }
    device_.save(state);
}

void DeviceControl::load(StateReader& state) {
    state.begin(name_);
    state.require(state.get<uint32_t>() == device_.type(), "it is of another kind of device");
    accepted_ = state.get<uint64_t>();
    status_ = state.get<uint8_t>();
    generation_ = state.get<uint32_t>();
    // As write_status() lets them become.
    const auto has = [this](uint8_t bits) { return (status_ & bits) == bits; };
    const bool sound = (status_ & ~(kFound | kReady | kEnded)) == 0 &&
                       (!has(VIRTIO_CONFIG_S_DRIVER_OK) || has(VIRTIO_CONFIG_S_FEATURES_OK)) &&
                       (!has(VIRTIO_CONFIG_S_FEATURES_OK) ||
                        (has(kFound) && (accepted_ & feature(VIRTIO_F_VERSION_1)) != 0));
    state.require(sound, "no driver could have brought it there");
    state.require(!has(VIRTIO_CONFIG_S_FEATURES_OK) || (accepted_ & ~all_offered_features()) == 0,
                  "its driver uses features that the device does not have here");
    state.require(state.get<uint16_t>() == queues_.size(), "it has another number of queues");
    quiesced_ = has(VIRTIO_CONFIG_S_DRIVER_OK);
    for (Queue& queue : queues_) {
        // What of it cannot be is found when the device is activated, as what a driver has written.
        queue.config.size = state.get<uint16_t>();
        queue.config.descriptor_area = GuestAddress{state.get<uint64_t>()};
        queue.config.driver_area = GuestAddress{state.get<uint64_t>()};
        queue.config.device_area = GuestAddress{state.get<uint64_t>()};
        queue.enabled = state.get<bool>();
        queue.used = queue.enabled && has(VIRTIO_CONFIG_S_DRIVER_OK);
    }
    device_.load(state);
}

void DeviceControl::reset() {
    const bool was_active = std::exchange(active_, false);
    if (std::exchange(quiesced_, false) || was_active) {
        device_.reset();
    }
    for (Queue& queue : queues_) {
        queue.config = {};
        queue.enabled = queue.used = false;
    }
    accepted_ = 0;
    status_ = 0;
}

uint16_t DeviceControl::queue_size_limit(uint32_t queue) const {
    return queue < queues_.size() ? device_.queue_sizes()[queue] : 0;
}

void DeviceControl::configure_queue(uint32_t index, const std::function<void(QueueConfig&)>& change) {
    if (index < queues_.size() && !queues_[index].enabled && takes_queues()) {
        change(queues_[index].config);
    }
}

void DeviceControl::set_queue_address(uint32_t index, GuestAddress QueueConfig::*area, bool upper,
                                      uint32_t value) {
    configure_queue(index, [&](QueueConfig& config) {
        const uint64_t kept = raw(config.*area) & (upper ? 0xffff'ffffU : uint64_t{0xffff'ffff} << 32);
        config.*area = GuestAddress{kept | uint64_t{value} << (upper ? 32 : 0)};
    });
}

QueueConfig DeviceControl::queue_config(uint32_t index) const {
    return index < queues_.size() ? queues_[index].config : QueueConfig{};
}

void DeviceControl::enable_queue(uint32_t index) {
    if (index < queues_.size() && !queues_[index].enabled && takes_queues()) {
        queues_[index].enabled = true;
        quiesce();
        resume();
    }
}

bool DeviceControl::reset_queue(uint32_t index) {
    if (!queue_is_enabled(index) || !may_reset_queues()) {
        return false;
    }
    Queue& queue = queues_[index];
    queue.config = {};
    queue.enabled = queue.used = false;
    quiesce();
    resume();
    return true;
}

bool DeviceControl::queue_is_enabled(uint32_t index) const {
    return index < queues_.size() && queues_[index].enabled;
}

int DeviceControl::kick_fd(uint32_t index) const {
    return index < queues_.size() ? queues_[index].kick.get() : -1;
}

void DeviceControl::used_buffers(uint16_t queue) {
    interrupt_(queue);
}

void DeviceControl::configuration_changed() {
    ++generation_;
    interrupt_(kConfigurationVector);
}

void DeviceControl::needs_reset(const char* why) {
    resets_needed_.warning(name_ + " stops until its driver resets it: " + why);
    status_ |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if ((status_ & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
        interrupt_(kConfigurationVector);
    }
}

}  // namespace hull::virtio
