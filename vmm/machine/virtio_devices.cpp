#include "vmm/machine/virtio_devices.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
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

void VirtioDevices::add(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name, Stay stay) {
    if (pci_) {
        connect_pci(std::move(device), name, stay);
    } else {
        connect_mmio(std::move(device), name);
    }
}

void VirtioDevices::connect_mmio(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name) {
    const arch::DevicePlace place = arch::virtio_mmio_place(static_cast<uint32_t>(mmio_places_.size()));
    auto made = std::make_unique<MmioPlace>(std::move(device), machine_.memory, machine_.vm,
                                            place.node.interrupt.value(), name);
    machine_.memory_bus.attach(place.node.range, made->transport, name);
    machine_.platform.devices.push_back(place.node);
    const GuestAddress doorbell{raw(place.node.range.start()) + virtio::MmioTransport::kDoorbell};
    for (uint32_t queue = 0; queue < made->transport.queue_count(); ++queue) {
        machine_.vm.connect_ioeventfd(doorbell, queue, made->transport.kick_fd(queue));
    }
    mmio_places_.push_back(std::move(made));
}

void VirtioDevices::connect_pci(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name,
                                Stay stay) {
    const auto lock = hold_still();
    const auto has_name = [&name](const auto& place) { return place && place->name == name; };
    if (stay == Stay::may_end && std::ranges::any_of(pci_places_, has_name)) {
        throw Error{ExitStatus::usage, "cannot add device '" + name + "'", "another device has the same id",
                    "give each its own"};
    }
    const auto free = std::find(pci_places_.begin() + 1, pci_places_.end(), nullptr);
    if (free == pci_places_.end()) {
        throw Error{ExitStatus::no_resources, "cannot add device '" + name + "'",
                    "all " + std::to_string(pci_places_.size() - 1) + " slots of the PCI bus are taken",
                    "remove another device first"};
    }
    const auto slot = static_cast<uint32_t>(free - pci_places_.begin());
    const GuestAddress registers = pci_->registers_of(slot);
    auto made =
        std::make_unique<PciPlace>(std::move(device), machine_.memory, registers, *routes_, name, stay);
    for (uint32_t queue = 0; queue < made->transport.queue_count(); ++queue) {
        made->doorbells.emplace_back(machine_.vm,
                                     GuestAddress{raw(registers) + virtio::PciTransport::doorbell(queue)},
                                     made->transport.kick_fd(queue));
    }
    *free = std::move(made);
    pci_->plug(slot, (*free)->transport);
}

void VirtioDevices::remove(const std::string& name) {
    const auto lock = hold_still();
    const auto place = std::ranges::find_if(pci_places_, [&name](const auto& one) {
        return one && one->name == name && one->stay == Stay::may_end;
    });
    if (place == pci_places_.end()) {
        throw Error{ExitStatus::usage, "cannot remove device '" + name + "'",
                    "the machine has no disk and no network device of that id", "give the id of one"};
    }
    pci_->unplug(static_cast<uint32_t>(place - pci_places_.begin()));
    place->reset();
    routes_->forget_destroyed();
}

std::unique_lock<std::mutex> VirtioDevices::hold_still() {
    std::unique_lock lock{mutex_};
    resumed_.wait(lock, [this] { return !quiesced_; });
    return lock;
}

void VirtioDevices::quiesce() {
    const std::lock_guard lock{mutex_};
    quiesced_ = true;
    if (pci_) {
        pci_->quiesce();
    }
    for (const auto& place : mmio_places_) {
        place->transport.quiesce();
    }
}

void VirtioDevices::resume() {
    const std::lock_guard lock{mutex_};
    if (pci_) {
        pci_->resume();
    }
    for (const auto& place : mmio_places_) {
        place->transport.resume();
    }
    quiesced_ = false;
    resumed_.notify_all();
}

void VirtioDevices::save(StateWriter& state) const {
    if (pci_) {
        pci_->save(state);
    }
    for (const auto& place : mmio_places_) {
        place->transport.save(state);
    }
}

void VirtioDevices::load(StateReader& state) {
    if (pci_) {
        pci_->load(state);
    }
    for (const auto& place : mmio_places_) {
        place->transport.load(state);
    }
}

}  // namespace hull
