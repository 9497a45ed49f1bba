// The machine's virtio devices, whichever bus they are on (VIRTIO 1.2, 4.1 and 4.2).
#pragma once

#include "guest/hostile/machine.h"

namespace hostile {

inline constexpr uint16_t kMostQueueEntries = 256;
inline constexpr uint16_t kMostQueues = 16;  // of a device that are looked at
inline constexpr unsigned kMostDevices = 32;

/// A queue as the driver here believes it to be; what the device was told may differ.
struct Queue {
    uint16_t size;       // 0: not set up
    uint16_t available;  // how many chains were made available
    uint16_t seen;       // how many of the used ring were looked at
    uint64_t descriptors;
    uint64_t driver_area;
    uint64_t device_area;
};

struct Device {
    bool is_pci;
    uint32_t type;  // VIRTIO 1.2, 5
    uint16_t queues;
    uint64_t features;       // offered
    uint64_t accepted;       // told to the device
    uint64_t registers;      // of MMIO, or the function's BAR
    uint64_t configuration;  // of the device; on PCI in the BAR, too
    // PCI's only
    uint64_t function;  // its configuration space
    uint64_t common;
    uint64_t notify;
    uint32_t notify_step;
    uint16_t msix_capability;  // in its configuration space
    uint64_t msix_table;
    uint16_t vectors;

    uint64_t chains_made;
    uint64_t chains_used;
    Queue queue[kMostQueues];
};

inline Device devices[kMostDevices];
inline unsigned device_count;

/// Looks for them on the PCI bus and where MMIO devices are.
void find_devices();

uint8_t status(const Device& device);
void set_status(const Device& device, uint8_t value);
void accept_features(Device& device, uint64_t features);
/// The most entries that a queue can have; 0 where there is no such queue. Selects it.
uint16_t select_queue(const Device& device, uint16_t queue);
/// Of the queue that is selected.
void set_queue_size(const Device& device, uint16_t size);
void set_queue_areas(const Device& device, const Queue& queue);
void set_queue_vector(const Device& device, uint16_t vector);
void enable_queue(const Device& device, uint16_t value);
void reset_queue(const Device& device, uint16_t value);
/// Rings a doorbell; `width` and `value` are what they should be where they are 0 and the queue's number.
void notify(const Device& device, uint32_t queue, unsigned width, uint64_t value);
/// The size of the registers, for those who write all over them.
uint64_t register_space(const Device& device);

}  // namespace hostile
