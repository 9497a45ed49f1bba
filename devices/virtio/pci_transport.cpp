#include "devices/virtio/pci_transport.h"

#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace hull::virtio {

namespace {

constexpr uint8_t kRegistersBar = 0;
constexpr uint16_t kNoVector = 0xffff;  // VIRTIO 1.2, 4.1.5.1.2: VIRTIO_MSI_NO_VECTOR

// What lies where among the registers.
constexpr uint64_t kCommon = 0;
// Linux's structure for it ends before 4.1.4.3's last two fields.
constexpr uint64_t kCommonSize = VIRTIO_PCI_COMMON_Q_RESET + sizeof(uint16_t);
constexpr uint64_t kInterruptStatus = 0x1000;
constexpr uint64_t kDevice = 0x2000;
constexpr uint64_t kDeviceSize = 0x1000;
constexpr uint64_t kNotify = 0x3000;
constexpr uint32_t kNotifyStep = 4;
constexpr uint64_t kMsixTable = 0x4000;
constexpr uint64_t kMsixPending = 0x8000;

/// VIRTIO 1.2, 4.1.2.1: the device's ID beyond 0x1040, under the vendor that stands for all virtio.
pci::Identity identity_of(uint32_t type) {
    constexpr uint16_t kVendor = 0x1af4;
    const auto class_of = [&]() -> uint32_t {
        switch (type) {
            case VIRTIO_ID_NET:
                return 0x02'0000;  // Ethernet controller
            case VIRTIO_ID_BLOCK:
                return 0x01'8000;  // another mass storage controller
            case VIRTIO_ID_CONSOLE:
                return 0x07'8000;  // another communication controller
            default:
                return 0xff'0000;  // none of the known ones
        }
    };
    const auto device = static_cast<uint16_t>(0x1040 + type);
    return {.vendor = kVendor,
            .device = device,
            .revision = 1,
            .class_code = class_of(),
            .subsystem_vendor = kVendor,
            .subsystem = device};
}

/// VIRTIO 1.2, 4.1.4: a capability that says where one of the structures is. It begins behind the two bytes
/// that every capability has, and so does what this answers.
size_t add_structure(pci::ConfigSpace& config, uint8_t type, uint64_t offset, uint64_t length,
                     std::span<const std::byte> more = {}, std::span<const std::byte> writable = {}) {
    virtio_pci_cap capability{};
    capability.cap_len = static_cast<uint8_t>(sizeof capability + more.size());
    capability.cfg_type = type;
    capability.bar = kRegistersBar;
    capability.offset = static_cast<uint32_t>(offset);
    capability.length = static_cast<uint32_t>(length);
    const auto whole = std::as_bytes(std::span{&capability, 1}).subspan(offsetof(virtio_pci_cap, cap_len));
    std::vector<std::byte> content{whole.begin(), whole.end()};
    content.insert(content.end(), more.begin(), more.end());
    return config.add_capability(PCI_CAP_ID_VNDR, content, writable);
}

std::vector<std::unique_ptr<pci::MessageInterrupt>> make_vectors(size_t count,
                                                                 const pci::MakeMessageInterrupt& make) {
    std::vector<std::unique_ptr<pci::MessageInterrupt>> vectors(count);
    std::ranges::generate(vectors, make);
    return vectors;
}

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span{&value, 1});
}

}  // namespace

PciTransport::PciTransport(VirtioDevice& device, GuestMemory& memory, GuestAddress registers,
                           const pci::MakeMessageInterrupt& make_interrupt, std::string name)
    : msix_{make_vectors(device.queue_sizes().size() + 1, make_interrupt)},
      vectors_(device.queue_sizes().size() + 1),
      config_{identity_of(device.type())},
      control_{device, memory, [this](uint32_t vector) { interrupt(vector); }, std::move(name)} {
    forget();
    config_.set_memory_bar(static_cast<uint32_t>(raw(registers)), pci::PciBus::kRegistersSize);

    // PCI 3.0, 6.8.2.3: a word with the number of vectors less one, then where the table is and where the
    // pending bits are, the lowest bits of both being the base address register's number.
    struct [[gnu::packed]] {
        uint16_t control;
        uint32_t table = kMsixTable | kRegistersBar;
        uint32_t pending = kMsixPending | kRegistersBar;
    } msix{.control = static_cast<uint16_t>(vectors_.size() - 1)};
    constexpr uint16_t kWritable = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
    msix_control_ = config_.add_capability(PCI_CAP_ID_MSIX, bytes_of(msix), bytes_of(kWritable));

    add_structure(config_, VIRTIO_PCI_CAP_COMMON_CFG, kCommon, kCommonSize);
    add_structure(config_, VIRTIO_PCI_CAP_ISR_CFG, kInterruptStatus, 1);
    add_structure(config_, VIRTIO_PCI_CAP_DEVICE_CFG, kDevice, kDeviceSize);
    add_structure(config_, VIRTIO_PCI_CAP_NOTIFY_CFG, kNotify, kNotifyStep * device.queue_sizes().size(),
                  bytes_of(kNotifyStep));
    // 4.1.4.9: the registers through the configuration space; what the driver writes says which.
    virtio_pci_cfg_cap writable{};
    writable.cap.bar = 0xff;
    writable.cap.offset = writable.cap.length = 0xffff'ffff;
    std::ranges::fill(writable.pci_cfg_data, uint8_t{0xff});
    constexpr std::array<std::byte, sizeof writable.pci_cfg_data> kNoData{};
    config_access_ = add_structure(config_, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, kNoData,
                                   bytes_of(writable).subspan(offsetof(virtio_pci_cap, cap_len)));
    config_.add_fixed_allocation();
}

uint32_t PciTransport::queue_count() const {
    return static_cast<uint32_t>(control_.device().queue_sizes().size());
}

uint64_t PciTransport::doorbell(uint32_t queue) {
    return kNotify + uint64_t{queue} * kNotifyStep;
}

void PciTransport::interrupt(uint32_t vector) {
    const bool configuration = vector == DeviceControl::kConfigurationVector;
    // 4.1.4.5.1: the first bit is for queues, the second for the configuration. Who uses MSI-X never looks.
    interrupt_status_ |= configuration ? VIRTIO_PCI_ISR_CONFIG : 1;
    msix_.trigger(vectors_.at(configuration ? vectors_.size() - 1 : vector).load());
}

// --- the configuration space

std::optional<uint64_t> PciTransport::windowed_register(uint64_t offset, size_t size) const {
    // The fields' places in config_, which has the structure from its third byte on.
    const auto place = [this](size_t field) {
        return config_access_ + field - offsetof(virtio_pci_cap, cap_len);
    };
    if (offset != place(offsetof(virtio_pci_cfg_cap, pci_cfg_data))) {
        return std::nullopt;
    }
    const auto target = config_.get<uint32_t>(place(offsetof(virtio_pci_cap, offset)));
    const bool sound = config_.get<uint8_t>(place(offsetof(virtio_pci_cap, bar))) == kRegistersBar &&
                       config_.get<uint32_t>(place(offsetof(virtio_pci_cap, length))) == size &&
                       target % size == 0 && target < pci::PciBus::kRegistersSize;
    return sound ? std::optional<uint64_t>{target} : std::nullopt;
}

void PciTransport::read_config(uint64_t offset, std::span<std::byte> data) {
    std::unique_lock lock{mutex_};
    if (const auto target = windowed_register(offset, data.size())) {
        lock.unlock();
        read_registers(*target, data);
        return;
    }
    config_.read(offset, data);
}

void PciTransport::write_config(uint64_t offset, std::span<const std::byte> data) {
    std::unique_lock lock{mutex_};
    config_.write(offset, data);
    if (offset < msix_control_ + sizeof(uint16_t) && offset + data.size() > msix_control_) {
        msix_.set_control(config_.get<uint16_t>(msix_control_));
    }
    if (const auto target = windowed_register(offset, data.size())) {
        lock.unlock();
        write_registers(*target, data);
    }
}

// --- the registers

void PciTransport::read_registers(uint64_t offset, std::span<std::byte> data) {
    std::ranges::fill(data, std::byte{0});
    if (offset >= kMsixPending) {
        msix_.read_pending(offset - kMsixPending, data);
    } else if (offset >= kMsixTable) {
        msix_.read_table(offset - kMsixTable, data);
    } else if (offset >= kNotify) {
        return;
    } else if (offset >= kDevice) {
        const std::lock_guard lock{mutex_};
        control_.device().read_configuration(offset - kDevice, data);
    } else if (offset == kInterruptStatus && data.size() == 1) {
        data[0] = std::byte{interrupt_status_.exchange(0)};
    } else if (offset < kCommonSize && data.size() <= sizeof(uint32_t)) {
        const std::lock_guard lock{mutex_};
        const uint32_t value = read_common(offset, data.size());
        std::memcpy(data.data(), &value, data.size());
    }
}

void PciTransport::write_registers(uint64_t offset, std::span<const std::byte> data) {
    if (offset >= kMsixPending) {
        return;
    }
    if (offset >= kMsixTable) {
        msix_.write_table(offset - kMsixTable, data);
    } else if (offset >= kNotify) {
        const auto queue = static_cast<uint32_t>((offset - kNotify) / kNotifyStep);
        if (const int fd = control_.kick_fd(queue); fd >= 0) {
            signal_eventfd(fd);
        }
    } else if (offset >= kDevice) {
        const std::lock_guard lock{mutex_};
        control_.device().write_configuration(offset - kDevice, data);
    } else if (offset < kCommonSize && data.size() <= sizeof(uint32_t)) {
        const std::lock_guard lock{mutex_};
        uint32_t value = 0;
        std::memcpy(&value, data.data(), data.size());
        write_common(offset, data.size(), value);
    }
}

namespace {

/// 4.1.3.1: each field is accessed in its own width, a 64-bit one by halves.
size_t width_of(uint64_t offset) {
    switch (offset) {
        case VIRTIO_PCI_COMMON_STATUS:
        case VIRTIO_PCI_COMMON_CFGGENERATION:
            return 1;
        case VIRTIO_PCI_COMMON_MSIX:
        case VIRTIO_PCI_COMMON_NUMQ:
        case VIRTIO_PCI_COMMON_Q_SELECT:
        case VIRTIO_PCI_COMMON_Q_SIZE:
        case VIRTIO_PCI_COMMON_Q_MSIX:
        case VIRTIO_PCI_COMMON_Q_ENABLE:
        case VIRTIO_PCI_COMMON_Q_NOFF:
        case VIRTIO_PCI_COMMON_Q_NDATA:
        case VIRTIO_PCI_COMMON_Q_RESET:
            return 2;
        default:
            return 4;
    }
}

/// 32 bits of an address.
uint32_t half_of(GuestAddress address, bool upper) {
    return static_cast<uint32_t>(raw(address) >> (upper ? 32 : 0));
}

}  // namespace

uint32_t PciTransport::read_common(uint64_t offset, size_t size) const {
    if (width_of(offset) != size) {
        return 0;
    }
    const QueueConfig queue = control_.queue_config(queue_);
    const uint16_t limit = control_.queue_size_limit(queue_);
    switch (offset) {
        case VIRTIO_PCI_COMMON_DFSELECT:
            return offered_half_;
        case VIRTIO_PCI_COMMON_DF:
            return control_.offered_features(offered_half_);
        case VIRTIO_PCI_COMMON_GFSELECT:
            return accepted_half_;
        case VIRTIO_PCI_COMMON_GF:
            return control_.accepted_features(accepted_half_);
        case VIRTIO_PCI_COMMON_MSIX:
            return vectors_.back();
        case VIRTIO_PCI_COMMON_NUMQ:
            return queue_count();
        case VIRTIO_PCI_COMMON_STATUS:
            return control_.status();
        case VIRTIO_PCI_COMMON_CFGGENERATION:
            return control_.configuration_generation() & 0xff;
        case VIRTIO_PCI_COMMON_Q_SELECT:
            return queue_;
        case VIRTIO_PCI_COMMON_Q_SIZE:
            return queue.size == 0 ? limit : queue.size;
        case VIRTIO_PCI_COMMON_Q_MSIX:
            return limit == 0 ? kNoVector : vectors_[queue_].load();
        case VIRTIO_PCI_COMMON_Q_ENABLE:
            return control_.queue_is_enabled(queue_) ? 1 : 0;
        case VIRTIO_PCI_COMMON_Q_NOFF:
            return queue_;
        case VIRTIO_PCI_COMMON_Q_DESCLO:
        case VIRTIO_PCI_COMMON_Q_DESCHI:
            return half_of(queue.descriptor_area, offset == VIRTIO_PCI_COMMON_Q_DESCHI);
        case VIRTIO_PCI_COMMON_Q_AVAILLO:
        case VIRTIO_PCI_COMMON_Q_AVAILHI:
            return half_of(queue.driver_area, offset == VIRTIO_PCI_COMMON_Q_AVAILHI);
        case VIRTIO_PCI_COMMON_Q_USEDLO:
        case VIRTIO_PCI_COMMON_Q_USEDHI:
            return half_of(queue.device_area, offset == VIRTIO_PCI_COMMON_Q_USEDHI);
        default:
            return 0;
    }
}

void PciTransport::write_common(uint64_t offset, size_t size, uint32_t value) {
    if (width_of(offset) != size) {
        return;
    }
    switch (offset) {
        case VIRTIO_PCI_COMMON_DFSELECT:
            offered_half_ = value;
            break;
        case VIRTIO_PCI_COMMON_GFSELECT:
            accepted_half_ = value;
            break;
        case VIRTIO_PCI_COMMON_GF:
            control_.accept_features(accepted_half_, value);
            break;
        case VIRTIO_PCI_COMMON_MSIX:
            vectors_.back() = valid_vector(value);
            break;
        case VIRTIO_PCI_COMMON_STATUS:
            control_.write_status(static_cast<uint8_t>(value));
            if (control_.status() == 0) {
                forget();
            }
            break;
        case VIRTIO_PCI_COMMON_Q_SELECT:
            queue_ = static_cast<uint16_t>(value);
            break;
        case VIRTIO_PCI_COMMON_Q_SIZE:
            control_.configure_queue(
                queue_, [&](QueueConfig& config) { config.size = static_cast<uint16_t>(value); });
            break;
        case VIRTIO_PCI_COMMON_Q_MSIX:
            if (queue_ < queue_count()) {
                vectors_[queue_] = valid_vector(value);
            }
            break;
        case VIRTIO_PCI_COMMON_Q_ENABLE:
            if (value == 1) {
                // 4.1.4.3.2: a driver that is content with the size it found need not write it.
                control_.configure_queue(queue_, [&](QueueConfig& config) {
                    config.size = config.size == 0 ? control_.queue_size_limit(queue_) : config.size;
                });
                control_.enable_queue(queue_);
            }
            break;
        case VIRTIO_PCI_COMMON_Q_RESET:
            if (value == 1 && control_.reset_queue(queue_)) {
                vectors_[queue_] = kNoVector;
            }
            break;
        case VIRTIO_PCI_COMMON_Q_DESCLO:
        case VIRTIO_PCI_COMMON_Q_DESCHI:
            control_.set_queue_address(queue_, &QueueConfig::descriptor_area,
                                       offset == VIRTIO_PCI_COMMON_Q_DESCHI, value);
            break;
        case VIRTIO_PCI_COMMON_Q_AVAILLO:
        case VIRTIO_PCI_COMMON_Q_AVAILHI:
            control_.set_queue_address(queue_, &QueueConfig::driver_area,
                                       offset == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
            break;
        case VIRTIO_PCI_COMMON_Q_USEDLO:
        case VIRTIO_PCI_COMMON_Q_USEDHI:
            control_.set_queue_address(queue_, &QueueConfig::device_area,
                                       offset == VIRTIO_PCI_COMMON_Q_USEDHI, value);
            break;
        default:
            break;
    }
}

uint16_t PciTransport::valid_vector(uint32_t value) const {
    return value < vectors_.size() ? static_cast<uint16_t>(value) : kNoVector;
}

void PciTransport::forget() {
    std::ranges::for_each(vectors_, [](auto& vector) { vector = kNoVector; });
    interrupt_status_ = 0;
    offered_half_ = accepted_half_ = 0;
    queue_ = 0;
}

// --- its state

void PciTransport::resume() {
    // From here on interrupts get through, those that were pending first.
    msix_.set_control(config_.get<uint16_t>(msix_control_));
    control_.resume();
}

void PciTransport::save(StateWriter& state) const {
    control_.save(state);
    config_.save(state);
    msix_.save(state);
    for (const auto& vector : vectors_) {
        state.put(vector.load());
    }
    state.put(interrupt_status_.load());
    state.put(offered_half_);
    state.put(accepted_half_);
    state.put(queue_);
}

void PciTransport::load(StateReader& state) {
    control_.load(state);
    config_.load(state);
    msix_.load(state);
    for (auto& vector : vectors_) {
        vector = valid_vector(state.get<uint16_t>());
    }
    interrupt_status_ = state.get<uint8_t>();
    offered_half_ = state.get<uint32_t>();
    accepted_half_ = state.get<uint32_t>();
    queue_ = state.get<uint16_t>();
}

}  // namespace hull::virtio
