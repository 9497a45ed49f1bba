// A virtual machine: owns its memory, devices and vCPUs, and runs until it ends.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/guest_memory.h"
#include "base/irq_line.h"
#include "devices/bus/bus.h"
#include "devices/console/console.h"
#include "devices/console/console_host.h"
#include "devices/console/port_host.h"
#include "devices/legacy/console_output.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/power.h"
#include "devices/legacy/pvpanic.h"
#include "devices/legacy/rtc.h"
#include "devices/legacy/serial.h"
#include "vmm/arch/arch.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/config.h"
#include "vmm/machine/console_input.h"
#include "vmm/machine/keeper_message.h"
#include "vmm/machine/machine_files.h"
#include "vmm/machine/vcpu_thread.h"
#include "vmm/machine/virtio_devices.h"

namespace hull {

/// When things happened, for --timing.
struct Timeline {
    using Clock = std::chrono::steady_clock;
    std::chrono::nanoseconds before_main{};  ///< processor time between exec and main()
    Clock::time_point main;
    Clock::time_point kvm_ready;          ///< /dev/kvm is open and the VM made
    Clock::time_point image_loaded;       ///< kernel, initramfs and tables are in guest memory
    Clock::time_point first_instruction;  ///< the boot vCPU is about to take it
};

/// Constructed, run and destroyed by one thread, which must be the only one of its process at construction;
/// other threads may call what says so.
class Machine {
  public:
    /// Makes the machine up to its first instruction, or to its next one, where it is one that was frozen
    /// (MachineFiles::frozen). Throws Error. `timeline` must outlive the machine.
    Machine(const MachineConfig& config, MachineFiles files, Timeline& timeline);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine();

    /// Runs the guest until it ends or is ended, obeying and answering KeeperMessages at `control_fd`; says
    /// how it ended.
    ExitStatus run(int control_fd);

    /// A disk that comes while the guest runs, which finds it when it looks again (Linux:
    /// /sys/bus/pci/rescan). `disk` is kept in files, which `image` has from open_disk(), and has an id.
    /// Throws Error (usage) where it has none or another device has the same, or where virtio devices are not
    /// on a PCI bus; (no_resources) where no slot is free; (host_unfit) where the host cannot connect another
    /// device. Nothing has changed then, and the image is closed. Any thread but a vCPU's, until the
    /// destructor begins. Not where threads are guarded (base/thread_guard.h): none can be made any more.
    void add_disk(const DiskConfig& disk, virtio::DiskImage image);
    /// The same for a network device, known to remove() by `id`; its other side is `links`, one for each of
    /// its queues.
    void add_net(const std::string& id, const NetConfig& net, std::vector<virtio::NetLink> links);
    /// Takes away a disk or a network device: one that was added, or one of MachineConfig's ("disk" or "net"
    /// and its number where it has no id). A guest that is to lose nothing has given it back before (Linux:
    /// /sys/bus/pci/devices/…/remove); what another has under way is done or given up, and it may wait for
    /// that device for ever. When this returns, nothing of the device is left, its files are closed and
    /// unlocked. Throws Error (usage) for an id that no such device has. Threads as add_disk()'s.
    void remove(const std::string& id);

    /// True where run() ended because the keeper was gone.
    [[nodiscard]] bool keeper_is_gone() const { return keeper_is_gone_; }
    /// When the first line of the guest's user space was on the console.
    [[nodiscard]] std::optional<Timeline::Clock::time_point> first_line_time() const;

  private:
    void make_devices(MachineFiles& files);
    void attach(const arch::DevicePlace& place, BusDevice& device);
    void make_console(MachineFiles& files);
    void add_virtio_devices(MachineFiles& files);
    void add_ports(MachineFiles& files);
    /// Throws where a device cannot come or go while the guest runs; `what` was to be done.
    void need_pci(const std::string& what) const;
    void take_request(GuestRequest request);
    void take_vcpu_end(uint32_t vcpu_index, const VcpuExit& exit);
    void take_keeper_message(int control_fd);
    /// Why it could not be done; empty: it was.
    std::string obey(const KeeperRequest& request);
    void pause();
    void resume();
    /// Writes the paused machine to a state file and a memory file. Throws Error.
    void save(int state_fd, int memory_fd);
    void load(const SnapshotState& state);
    /// All that have a state, in the order in which it is written.
    [[nodiscard]] std::vector<Stateful*> parts();
    void end(ExitStatus how);
    void look_after_guest();

    const MachineConfig config_;
    Timeline& timeline_;
    EventLoop loop_;
    UniqueFd guest_event_ = make_eventfd();
    std::atomic<bool> panicked_{false};
    std::atomic<int> ended_{-1};  // the ExitStatus, once there is one
    bool keeper_is_gone_ = false;
    bool is_paused_ = false;

    Kvm kvm_;
    GuestMemory memory_;
    Vm vm_;
    boot::Platform platform_;
    Bus ports_;
    Bus memory_bus_;

    EventfdIrqLine serial_irq_;
    EventfdIrqLine power_irq_;
    UniqueFd console_output_fd_;
    UniqueFd console_input_fd_;
    std::unique_ptr<Serial> serial_;
    std::unique_ptr<ConsoleInput> console_input_;
    std::unique_ptr<virtio::ConsoleHost> console_host_;  // where the console is virtio's
    std::vector<std::unique_ptr<virtio::PortHost>> port_hosts_;
    std::unique_ptr<ConsoleOutput>
        console_output_;  // after serial_ and console_host_, which its thread calls
    std::unique_ptr<Power> power_;
    std::unique_ptr<Pvpanic> pvpanic_;
    std::unique_ptr<I8042> reset_line_;
    std::unique_ptr<Rtc> rtc_;

    std::unique_ptr<VirtioDevices> virtio_devices_;
    virtio::Console* console_ = nullptr;  // where the console is virtio's
    virtio::Console* ports_device_ = nullptr;

    VcpuSurroundings surroundings_;
    std::vector<Vcpu> vcpus_;                           // until run(), which gives each a thread
    std::vector<std::unique_ptr<VcpuThread>> threads_;  // last: they use all of the above
};

}  // namespace hull
