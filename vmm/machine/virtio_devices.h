// A machine's virtio devices and what connects them to the guest.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "boot/platform.h"
#include "devices/bus/bus.h"
#include "devices/pci/bus.h"
#include "devices/virtio/device.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/pci_transport.h"
#include "vmm/kvm/interrupt_routes.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/config.h"

namespace hull {

/// Owns the devices and gives each a place on the machine's bus, with its doorbells and interrupts. One
/// thread, before the vCPUs run.
class VirtioDevices {
  public:
    /// What the devices are connected to, all of which outlives them.
    struct Surroundings {
        Vm& vm;
        GuestMemory& memory;
        Bus& ports;
        Bus& memory_bus;
        boot::Platform& platform;  ///< told of what is to be described to the guest
    };

    VirtioDevices(VirtioBus bus, const Surroundings& surroundings);

    /// Takes the next device, which the guest finds in this order; MachineConfig::check() has seen that there
    /// is room. `name` is for the log. Throws Error.
    void add(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name);

  private:
    /// A virtio device behind a page of registers, and its interrupt.
    struct MmioPlace {
        MmioPlace(virtio::VirtioDevice& device, GuestMemory& memory, Vm& vm, uint32_t interrupt,
                  const std::string& name)
            : irq{vm, interrupt}, transport{device, memory, irq, name} {}
        PinIrqLine irq;
        virtio::MmioTransport transport;
    };

    void make_pci_bus();
    void connect_mmio(virtio::VirtioDevice& device, const std::string& name);
    void connect_pci(virtio::VirtioDevice& device, const std::string& name);

    Surroundings machine_;
    std::unique_ptr<InterruptRoutes> routes_;  // with pci_ only
    std::unique_ptr<pci::PciBus> pci_;
    std::vector<std::unique_ptr<virtio::VirtioDevice>> devices_;
    // After the devices, which transports reset as they go.
    std::vector<std::unique_ptr<MmioPlace>> mmio_places_;
    std::vector<std::unique_ptr<virtio::PciTransport>> pci_functions_;
};

}  // namespace hull
