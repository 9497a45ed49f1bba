// A guest's driver at a PCI bus and at the registers of virtio-pci (VIRTIO 1.2, 4.1 and 3.1.1).
#pragma once

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "devices/pci/bus.h"
#include "devices/pci/msix.h"
#include "devices/virtio/queue.h"
#include "tests/support/mmio_driver.h"

namespace hull::test {

/// An interrupt that remembers what it was told to send and counts how often it was.
class CountingMessage final : public pci::MessageInterrupt {
  public:
    void trigger() override { ++count; }
    void route(uint64_t to, uint32_t what) override {
        address = to;
        data = what;
        ++routes;
    }

    int count = 0;
    int routes = 0;
    uint64_t address = 0;
    uint32_t data = 0;
};

/// Makes such interrupts and knows them all.
class CountingMessages {
  public:
    pci::MakeMessageInterrupt maker() {
        return [this] {
            auto made = std::make_unique<CountingMessage>();
            all.push_back(made.get());
            return made;
        };
    }
    std::vector<CountingMessage*> all;  ///< owned by what they were made for
};

/// A driver's accesses to one function, found as Linux finds it: by the identity in the configuration space,
/// the base address register, and the list of capabilities.
class PciDriver {
  public:
    PciDriver(pci::PciBus& bus, uint64_t window, uint32_t slot) : bus_{bus}, window_{window}, slot_{slot} {
        for (uint32_t at = config<uint8_t>(PCI_CAPABILITY_LIST); at != 0;
             at = config<uint8_t>(at + PCI_CAP_LIST_NEXT)) {
            const auto id = config<uint8_t>(at);
            if (id == PCI_CAP_ID_MSIX) {
                msix = at;
            } else if (id == PCI_CAP_ID_VNDR) {
                structures.at(config<uint8_t>(at + VIRTIO_PCI_CAP_CFG_TYPE)) =
                    config<uint32_t>(at + VIRTIO_PCI_CAP_OFFSET);
                places.at(config<uint8_t>(at + VIRTIO_PCI_CAP_CFG_TYPE)) = at;
            }
        }
    }

    template <typename T>
    T config(uint64_t offset) {
        T value{};
        bus_.ecam().read(slot_ * 8 * pci::PciBus::kConfigSize + offset,
                         std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    template <typename T>
    void set_config(uint64_t offset, T value) {
        bus_.ecam().write(slot_ * 8 * pci::PciBus::kConfigSize + offset, std::as_bytes(std::span{&value, 1}));
    }
    /// Accesses to registers: where the base address register says.
    template <typename T>
    T get(uint64_t offset) {
        T value{};
        if (const auto at = place(offset, sizeof value)) {
            bus_.window().read(*at, std::as_writable_bytes(std::span{&value, 1}));
        }
        return value;
    }
    template <typename T>
    void set(uint64_t offset, T value) {
        if (const auto at = place(offset, sizeof value)) {
            bus_.window().write(*at, std::as_bytes(std::span{&value, 1}));
        }
    }
    template <typename T>
    T common(uint64_t offset) {
        return get<T>(structures[VIRTIO_PCI_CAP_COMMON_CFG] + offset);
    }
    template <typename T>
    void set_common(uint64_t offset, T value) {
        set<T>(structures[VIRTIO_PCI_CAP_COMMON_CFG] + offset, value);
    }

    /// Up to FEATURES_OK, as Linux does it.
    void negotiate(uint64_t features) {
        set_common<uint8_t>(VIRTIO_PCI_COMMON_STATUS, 0);
        set_common<uint8_t>(VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
        for (const uint32_t half : {0U, 1U}) {
            set_common<uint32_t>(VIRTIO_PCI_COMMON_GFSELECT, half);
            set_common<uint32_t>(VIRTIO_PCI_COMMON_GF, static_cast<uint32_t>(features >> (32 * half)));
        }
        set_common<uint8_t>(VIRTIO_PCI_COMMON_STATUS, kReadyToStart);
    }
    void set_queue(uint16_t index, const virtio::QueueConfig& queue, uint16_t vector) {
        set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, index);
        set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SIZE, queue.size);
        set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_MSIX, vector);
        const auto put = [&](uint64_t low, GuestAddress address) {
            set_common<uint32_t>(low, static_cast<uint32_t>(raw(address)));
            set_common<uint32_t>(low + 4, static_cast<uint32_t>(raw(address) >> 32));
        };
        put(VIRTIO_PCI_COMMON_Q_DESCLO, queue.descriptor_area);
        put(VIRTIO_PCI_COMMON_Q_AVAILLO, queue.driver_area);
        put(VIRTIO_PCI_COMMON_Q_USEDLO, queue.device_area);
        set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_ENABLE, 1);
    }
    void reset_queue(uint16_t index, uint16_t value = 1) {
        set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, index);
        set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_RESET, value);
    }
    void start() { set_common<uint8_t>(VIRTIO_PCI_COMMON_STATUS, kReadyToStart | VIRTIO_CONFIG_S_DRIVER_OK); }
    void kick(uint16_t queue) {
        set_common<uint16_t>(VIRTIO_PCI_COMMON_Q_SELECT, queue);
        const auto step = config<uint32_t>(places[VIRTIO_PCI_CAP_NOTIFY_CFG] + VIRTIO_PCI_NOTIFY_CAP_MULT);
        set<uint16_t>(structures[VIRTIO_PCI_CAP_NOTIFY_CFG] +
                          uint64_t{common<uint16_t>(VIRTIO_PCI_COMMON_Q_NOFF)} * step,
                      queue);
    }
    /// MSI-X: the control word, and a vector's entry with its mask off or on.
    void set_msix(uint16_t control) { set_config<uint16_t>(msix + PCI_MSIX_FLAGS, control); }
    [[nodiscard]] uint64_t table() { return config<uint32_t>(msix + PCI_MSIX_TABLE) & PCI_MSIX_TABLE_OFFSET; }
    void set_vector(uint32_t vector, uint64_t address, uint32_t data, bool masked) {
        const uint64_t entry = table() + vector * pci::Msix::kEntrySize;
        set<uint32_t>(entry + PCI_MSIX_ENTRY_LOWER_ADDR, static_cast<uint32_t>(address));
        set<uint32_t>(entry + PCI_MSIX_ENTRY_UPPER_ADDR, static_cast<uint32_t>(address >> 32));
        set<uint32_t>(entry + PCI_MSIX_ENTRY_DATA, data);
        set<uint32_t>(entry + PCI_MSIX_ENTRY_VECTOR_CTRL, masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
    }

    std::array<uint64_t, 16> structures{};  ///< by type of capability: where among the registers
    std::array<uint32_t, 16> places{};      ///< and where the capability is
    uint32_t msix = 0;

  private:
    /// Where in the window a register is, by what the base address register says now. What is beyond the
    /// window does not reach the bus.
    std::optional<uint64_t> place(uint64_t offset, size_t size) {
        const uint64_t registers = (config<uint32_t>(PCI_BASE_ADDRESS_0) & ~0xfU) - window_;
        return registers < pci::PciBus::kWindowSize && registers + offset + size <= pci::PciBus::kWindowSize
                   ? std::optional{registers + offset}
                   : std::nullopt;
    }

    pci::PciBus& bus_;
    const uint64_t window_;
    const uint32_t slot_;
};

}  // namespace hull::test
