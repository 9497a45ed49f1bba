#include "vmm/machine/virtio_devices.h"

#include <utility>

#include "vmm/arch/arch.h"

namespace hull {

VirtioDevices::VirtioDevices(VirtioBus bus, const Surroundings& surroundings) : machine_{surroundings} {
    if (bus == VirtioBus::pci) {
        make_pci_bus();
    }
}

void VirtioDevices::make_pci_bus() {
    routes_ =
        std::make_unique<InterruptRoutes>(machine_.vm, arch::interrupt_pins(), arch::kFirstMessageInterrupt);
    pci_ = std::make_unique<pci::PciBus>(arch::kPciHost.window);
    machine_.memory_bus.attach(arch::kPciHost.configuration, pci_->ecam(), "pci configuration space");
    if (arch::kPciPorts) {
        machine_.ports.attach(*arch::kPciPorts, pci_->ports(), "pci configuration ports");
    }
    machine_.memory_bus.attach(arch::kPciHost.window, pci_->window(), "pci window");
    machine_.platform.pci = arch::kPciHost;
}

void VirtioDevices::add(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name) {
    devices_.push_back(std::move(device));
    if (pci_) {
        connect_pci(*devices_.back(), name);
    } else {
        connect_mmio(*devices_.back(), name);
    }
}

void VirtioDevices::connect_mmio(virtio::VirtioDevice& device, const std::string& name) {
    const arch::DevicePlace place = arch::virtio_mmio_place(static_cast<uint32_t>(mmio_places_.size()));
    auto made =
        std::make_unique<MmioPlace>(device, machine_.memory, machine_.vm, place.node.interrupt.value(), name);
    machine_.memory_bus.attach(place.node.range, made->transport, name);
    machine_.platform.devices.push_back(place.node);
    const GuestAddress doorbell{raw(place.node.range.start()) + virtio::MmioTransport::kDoorbell};
    for (uint32_t queue = 0; queue < made->transport.queue_count(); ++queue) {
        machine_.vm.connect_ioeventfd(doorbell, queue, made->transport.kick_fd(queue));
    }
    mmio_places_.push_back(std::move(made));
}

void VirtioDevices::connect_pci(virtio::VirtioDevice& device, const std::string& name) {
    const auto slot = static_cast<uint32_t>(pci_functions_.size() + 1);  // the bridge is in slot 0
    const GuestAddress registers = pci_->registers_of(slot);
    auto made = std::make_unique<virtio::PciTransport>(
        device, machine_.memory, registers, [this] { return routes_->make_message_interrupt(); }, name);
    for (uint32_t queue = 0; queue < made->queue_count(); ++queue) {
        machine_.vm.connect_doorbell(GuestAddress{raw(registers) + virtio::PciTransport::doorbell(queue)},
                                     made->kick_fd(queue));
    }
    pci_->plug(slot, *made);
    pci_functions_.push_back(std::move(made));
}

}  // namespace hull
