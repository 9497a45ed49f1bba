#include "guest/hostile/devices.h"

#include <linux/pci_regs.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

namespace hostile {

namespace {

constexpr uint16_t kPciAddressPort = 0xcf8;
constexpr uint16_t kPciDataPort = 0xcfc;
constexpr uint16_t kVirtioVendor = 0x1af4;
constexpr uint16_t kFirstVirtioDevice = 0x1040;
constexpr uint32_t kVirtioMagic = 0x74726976;
constexpr uint64_t kQueueReset = 0xc0;   // VIRTIO 1.2, 4.2.2: QueueReset
constexpr uint64_t kCommonReset = 0x3a;  // 4.1.4.3: queue_reset

uint32_t read_pci(unsigned slot, unsigned offset) {
    out32(kPciAddressPort, 0x8000'0000 | slot << 11 | (offset & ~3U));
    return in32(kPciDataPort) >> (8 * (offset & 3));
}

/// Where one of the structures is (4.1.4).
void take_structure(Device& device, unsigned slot, unsigned capability) {
    const uint64_t place = device.registers + read_pci(slot, capability + offsetof(virtio_pci_cap, offset));
    switch (read_pci(slot, capability + offsetof(virtio_pci_cap, cfg_type)) & 0xff) {
        case VIRTIO_PCI_CAP_COMMON_CFG:
            device.common = place;
            break;
        case VIRTIO_PCI_CAP_NOTIFY_CFG:
            device.notify = place;
            device.notify_step = read_pci(slot, capability + sizeof(virtio_pci_cap));
            break;
        case VIRTIO_PCI_CAP_DEVICE_CFG:
            device.configuration = place;
            break;
        default:
            break;
    }
}

void look_into_slot(unsigned slot) {
    const uint32_t id = read_pci(slot, PCI_VENDOR_ID);
    if ((id & 0xffff) != kVirtioVendor || device_count == kMostDevices) {
        return;
    }
    Device& device = devices[device_count];
    device.is_pci = true;
    device.type = (id >> 16) - kFirstVirtioDevice;
    device.registers = read_pci(slot, PCI_BASE_ADDRESS_0) & PCI_BASE_ADDRESS_MEM_MASK;
    device.function = kPciConfiguration + slot * 0x8000;
    unsigned capability = read_pci(slot, PCI_CAPABILITY_LIST) & 0xff;
    for (int most = 0; capability != 0 && most < 32; ++most) {
        const uint32_t head = read_pci(slot, capability);
        if ((head & 0xff) == PCI_CAP_ID_VNDR) {
            take_structure(device, slot, capability);
        } else if ((head & 0xff) == PCI_CAP_ID_MSIX) {
            device.msix_capability = static_cast<uint16_t>(capability);
            device.vectors = static_cast<uint16_t>((head >> 16 & PCI_MSIX_FLAGS_QSIZE) + 1);
            device.msix_table =
                device.registers + (read_pci(slot, capability + PCI_MSIX_TABLE) & PCI_MSIX_TABLE_OFFSET);
        }
        capability = head >> 8 & 0xff;
    }
    if (device.common != 0) {
        ++device_count;
    }
}

void look_into_page(uint64_t page) {
    if (read_register(page + VIRTIO_MMIO_MAGIC_VALUE, 4) != kVirtioMagic || device_count == kMostDevices) {
        return;
    }
    Device& device = devices[device_count++];
    device.type = static_cast<uint32_t>(read_register(page + VIRTIO_MMIO_DEVICE_ID, 4));
    device.registers = page;
    device.configuration = page + VIRTIO_MMIO_CONFIG;
}

void write_common(const Device& device, uint64_t offset, unsigned width, uint64_t value) {
    write_register(device.common + offset, width, value);
}
void write_mmio(const Device& device, uint64_t offset, uint64_t value) {
    write_register(device.registers + offset, 4, value);
}

}  // namespace

void find_devices() {
    for (unsigned slot = 1; slot < 32; ++slot) {
        look_into_slot(slot);
    }
    for (unsigned page = 0; page < kMostMmioDevices; ++page) {
        look_into_page(kMmioDevices + page * 0x1000);
    }
    for (unsigned number = 0; number < device_count; ++number) {
        Device& device = devices[number];
        for (uint32_t half = 0; half < 2; ++half) {
            if (device.is_pci) {
                write_common(device, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
                device.features |= read_register(device.common + VIRTIO_PCI_COMMON_DF, 4) << (32 * half);
            } else {
                write_mmio(device, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
                device.features |= read_register(device.registers + VIRTIO_MMIO_DEVICE_FEATURES, 4)
                                   << (32 * half);
            }
        }
        while (device.queues < kMostQueues && select_queue(device, device.queues) != 0) {
            ++device.queues;
        }
    }
}

uint8_t status(const Device& device) {
    const uint64_t value = device.is_pci ? read_register(device.common + VIRTIO_PCI_COMMON_STATUS, 1)
                                         : read_register(device.registers + VIRTIO_MMIO_STATUS, 4);
    return static_cast<uint8_t>(value);
}

void set_status(const Device& device, uint8_t value) {
    device.is_pci ? write_common(device, VIRTIO_PCI_COMMON_STATUS, 1, value)
                  : write_mmio(device, VIRTIO_MMIO_STATUS, value);
}

void accept_features(Device& device, uint64_t features) {
    device.accepted = features;
    for (uint32_t half = 0; half < 2; ++half) {
        const uint64_t value = features >> (32 * half) & 0xffff'ffff;
        if (device.is_pci) {
            write_common(device, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
            write_common(device, VIRTIO_PCI_COMMON_GF, 4, value);
        } else {
            write_mmio(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
            write_mmio(device, VIRTIO_MMIO_DRIVER_FEATURES, value);
        }
    }
}

uint16_t select_queue(const Device& device, uint16_t queue) {
    if (device.is_pci) {
        write_common(device, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
        return static_cast<uint16_t>(read_register(device.common + VIRTIO_PCI_COMMON_Q_SIZE, 2));
    }
    write_mmio(device, VIRTIO_MMIO_QUEUE_SEL, queue);
    return static_cast<uint16_t>(read_register(device.registers + VIRTIO_MMIO_QUEUE_NUM_MAX, 4));
}

void set_queue_size(const Device& device, uint16_t size) {
    device.is_pci ? write_common(device, VIRTIO_PCI_COMMON_Q_SIZE, 2, size)
                  : write_mmio(device, VIRTIO_MMIO_QUEUE_NUM, size);
}

void set_queue_areas(const Device& device, const Queue& queue) {
    struct Area {
        uint64_t pci;
        uint64_t mmio;
        uint64_t address;
    };
    const Area areas[] = {{VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_MMIO_QUEUE_DESC_LOW, queue.descriptors},
                          {VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue.driver_area},
                          {VIRTIO_PCI_COMMON_Q_USEDLO, VIRTIO_MMIO_QUEUE_USED_LOW, queue.device_area}};
    for (const Area& area : areas) {
        for (unsigned half = 0; half < 2; ++half) {
            const uint64_t value = area.address >> (32 * half) & 0xffff'ffff;
            device.is_pci ? write_common(device, area.pci + 4 * half, 4, value)
                          : write_mmio(device, area.mmio + 4 * half, value);
        }
    }
}

void set_queue_vector(const Device& device, uint16_t vector) {
    if (device.is_pci) {
        write_common(device, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
    }
}

void enable_queue(const Device& device, uint16_t value) {
    device.is_pci ? write_common(device, VIRTIO_PCI_COMMON_Q_ENABLE, 2, value)
                  : write_mmio(device, VIRTIO_MMIO_QUEUE_READY, value);
}

void reset_queue(const Device& device, uint16_t value) {
    device.is_pci ? write_common(device, kCommonReset, 2, value) : write_mmio(device, kQueueReset, value);
}

void notify(const Device& device, uint32_t queue, unsigned width, uint64_t value) {
    if (device.is_pci) {
        write_register(device.notify + uint64_t{queue} * device.notify_step, width == 0 ? 2 : width, value);
    } else {
        write_register(device.registers + VIRTIO_MMIO_QUEUE_NOTIFY, width == 0 ? 4 : width, value);
    }
}

uint64_t register_space(const Device& device) {
    return device.is_pci ? 0x1'0000 : 0x1000;
}

}  // namespace hostile
