// A machine's virtio devices and what connects them to the guest.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "base/state.h"
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

/// Owns the devices and gives each a place on the machine's bus, with its doorbells and interrupts. On a PCI
/// bus they come and go while the guest runs, and wait with that from quiesce() to resume().
class VirtioDevices final : public Stateful {
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

    /// What remove() may do with a device.
    enum class Stay {
        always,   ///< nothing: others refer to it
        may_end,  ///< the device can be removed
    };

    /// Takes the next device, in the first slot that is free: what is there before the guest runs is found in
    /// this order. `name` is for the log and for remove(). Throws Error where another device has the name of
    /// one that can be removed (usage), where there is no room (no_resources), or where the host has no more
    /// of what connects it (host_unfit); nothing is left of the device then. Any thread; once vCPUs run, on a
    /// PCI bus only. While the devices are quiesced it waits.
    void add(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name, Stay stay);
    /// Takes a device off the PCI bus, whatever its driver is doing. When it returns, the device has finished
    /// or given up all that was under way and is destroyed. Throws Error (usage) where there is none of this
    /// name that may be removed. Any thread but a vCPU's. While the devices are quiesced it waits.
    void remove(const std::string& name);

    /// All of them, which must be those that were there when the state was saved. quiesce() waits for one
    /// that is coming or going. Any thread, one of these four at a time.
    void quiesce() override;
    void resume() override;
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

  private:
    /// A virtio device behind a page of registers, and its interrupt.
    struct MmioPlace {
        MmioPlace(std::unique_ptr<virtio::VirtioDevice> given, GuestMemory& memory, Vm& vm,
                  uint32_t interrupt, const std::string& name)
            : device{std::move(given)}, irq{vm, interrupt}, transport{*device, memory, irq, name} {}
        std::unique_ptr<virtio::VirtioDevice> device;
        PinIrqLine irq;
        virtio::MmioTransport transport;  // resets the device as it goes
    };
    /// A virtio device as a PCI function.
    struct PciPlace {
        PciPlace(std::unique_ptr<virtio::VirtioDevice> given, GuestMemory& memory, GuestAddress registers,
                 InterruptRoutes& routes, std::string given_name, Stay given_stay)
            : name{std::move(given_name)},
              stay{given_stay},
              device{std::move(given)},
              transport{*device, memory, registers, [&routes] { return routes.make_message_interrupt(); },
                        name} {}
        const std::string name;
        const Stay stay;
        std::unique_ptr<virtio::VirtioDevice> device;
        virtio::PciTransport transport;  // resets the device as it goes
        std::deque<Doorbell> doorbells;  // of the transport's eventfds
    };

    void make_pci_bus();
    /// Waits until devices may come and go, and keeps all others from that until the lock is given up.
    [[nodiscard]] std::unique_lock<std::mutex> hold_still();
    void connect_mmio(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name);
    void connect_pci(std::unique_ptr<virtio::VirtioDevice> device, const std::string& name, Stay stay);

    Surroundings machine_;
    std::unique_ptr<InterruptRoutes> routes_;  // with pci_ only
    std::unique_ptr<pci::PciBus> pci_;
    std::vector<std::unique_ptr<MmioPlace>> mmio_places_;
    std::mutex mutex_;  // what follows
    std::condition_variable resumed_;
    bool quiesced_ = false;
    std::array<std::unique_ptr<PciPlace>, pci::PciBus::kSlots>
        pci_places_;  // by slot; the bridge is in slot 0
};

}  // namespace hull
