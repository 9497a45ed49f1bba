#include "vmm/machine/machine.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <utility>

#include "base/log.h"
#include "base/thread_guard.h"
#include "devices/block/block.h"
#include "devices/block/file_backend.h"
#include "devices/block/served_disk.h"
#include "devices/console/descriptor_host.h"
#include "devices/console/socket_host.h"
#include "devices/fs/file_share.h"
#include "devices/fs/share.h"
#include "devices/net/net.h"
#include "devices/net/served_net.h"
#include "devices/rng/rng.h"
#include "devices/virtio/vhost_user_device.h"
#include "devices/vsock/vsock.h"

namespace hull {

namespace {

/// How long a panicked guest may go on to print before the machine ends.
constexpr std::chrono::milliseconds kPanicGrace{1000};

Mapping::Pages pages_of(const MachineConfig& config) {
    return config.hugepages ? Mapping::Pages::huge : Mapping::Pages::transparent;
}

GuestMemory make_memory(const MachineConfig& config, const MachineFiles& files) {
    const std::vector<GuestRange> layout = arch::memory_layout(config.memory);
    const auto sharing =
        config.shares_memory() ? GuestMemory::Sharing::shareable : GuestMemory::Sharing::none;
    if (!files.frozen) {
        return GuestMemory{layout, pages_of(config), sharing};
    }
    const SnapshotMemory saved = SnapshotMemory::parse(files.frozen->state.section("memory"));
    if (saved.regions() != layout) {
        throw Error{
            ExitStatus::bad_file, "cannot restore the snapshot",
            "its memory does not lie where a guest with " + memory_size_text(config.memory) + " has it",
            "use another snapshot"};
    }
    saved.check(files.frozen->memory);
    return GuestMemory{layout, files.frozen->memory, sharing};
}

virtio::NetOffloads offloads_of(const NetConfig& net) {
    switch (net.kind) {
        case NetConfig::Kind::user:
            return virtio::NetOffloads::checked;
        case NetConfig::Kind::tap:
            return virtio::NetOffloads::all;
        case NetConfig::Kind::socket:
        case NetConfig::Kind::served:
            break;
    }
    return virtio::NetOffloads::none;
}

/// Of the terminal that the console is on, if it is on one.
std::optional<virtio::ConsoleSize> terminal_size(int output, int input) {
    winsize size{};
    if (ioctl(output, TIOCGWINSZ, &size) != 0 && ioctl(input, TIOCGWINSZ, &size) != 0) {
        return std::nullopt;
    }
    return virtio::ConsoleSize{.columns = size.ws_col, .rows = size.ws_row};
}

/// A disk that owns its image.
std::unique_ptr<virtio::VirtioDevice> make_disk(virtio::DiskImage given, const DiskConfig& disk,
                                                const std::string& name) {
    const auto image = std::make_shared<const virtio::DiskImage>(std::move(given));
    return std::make_unique<virtio::Block>(
        virtio::BlockSettings{.size = image->size,
                              .block_size = image->block_size,
                              .readonly = image->readonly,
                              .id = name,
                              .requests_per_second = disk.iops,
                              .bytes_per_second = disk.bps,
                              .queues = static_cast<uint16_t>(disk.queues)},
        [image, make = virtio::make_file_backends(*image)](uint16_t queue_size, int kick_fd, int stop_fd) {
            return make(queue_size, kick_fd, stop_fd);
        });
}

std::unique_ptr<virtio::VirtioDevice> make_net(NetFiles files, const NetConfig& net,
                                               const std::string& name) {
    return std::make_unique<virtio::Net>(virtio::NetSettings{.mac = net.mac.value_or(random_mac()),
                                                             .mtu = net.mtu_in_use(),
                                                             .offloads = offloads_of(net),
                                                             .frames_per_second = net.pps,
                                                             .bytes_per_second = net.bps,
                                                             .stream = net.kind == NetConfig::Kind::socket,
                                                             .find_stream = std::move(files.find_stream),
                                                             .name = name},
                                         std::move(files.links));
}

void check_host(const Kvm& kvm, const MachineConfig& config) {
    for (const arch::NeededCapability& needed : arch::kNeededCapabilities) {
        if (kvm.capability(needed.number) == 0) {
            throw Error{ExitStatus::host_unfit, "cannot use the host's KVM",
                        std::string{"it lacks "} + needed.name,
                        "use a newer host kernel; 'hull check' lists what is needed"};
        }
    }
    if (config.cpus > kvm.max_vcpus()) {
        throw Error{ExitStatus::host_unfit, "cannot make " + std::to_string(config.cpus) + " vCPUs",
                    "the host's KVM has at most " + std::to_string(kvm.max_vcpus()) + " a machine",
                    "give fewer (--cpus)"};
    }
}

}  // namespace

Machine::Machine(const MachineConfig& config, MachineFiles files, Timeline& timeline)
    : config_{config},
      timeline_{timeline},
      kvm_{std::move(files.kvm)},
      memory_{make_memory(config, files)},
      vm_{kvm_},
      platform_{.cpus = config.cpus, .memory = arch::memory_layout(config.memory), .devices = {}},
      surroundings_{ports_, memory_bus_,
                    [this](uint32_t index, const VcpuExit& exit) { take_vcpu_end(index, exit); }} {
    check_host(kvm_, config_);
    timeline_.kvm_ready = Timeline::Clock::now();
    vm_.map_memory(memory_);
    arch::prepare_vm(vm_);
    make_devices(files);
    for (uint32_t index = 0; index < config_.cpus; ++index) {
        vcpus_.emplace_back(vm_, index);
        arch::prepare_vcpu(kvm_, vcpus_.back(), config_.cpus);
    }
    if (files.frozen) {
        load(files.frozen->state);
        is_paused_ = files.frozen->stays_paused;
        timeline_.image_loaded = Timeline::Clock::now();
        return;
    }
    arch::load_guest({.kernel = std::move(files.kernel),
                      .initramfs = std::move(files.initramfs),
                      .cmdline = config_.whole_cmdline()},
                     config_.platform, platform_, memory_, vcpus_.front());
    timeline_.image_loaded = Timeline::Clock::now();
}

Machine::~Machine() = default;

void Machine::attach(const arch::DevicePlace& place, BusDevice& device) {
    (place.node.space == AddressSpace::port ? ports_ : memory_bus_)
        .attach(place.node.range, device, place.name);
    platform_.devices.push_back(place.node);
}

void Machine::make_console(MachineFiles& files) {
    console_output_fd_ = std::move(files.console_output);
    console_input_fd_ = std::move(files.console_input);
    console_output_ = std::make_unique<ConsoleOutput>(console_output_fd_.get(), [this] {
        serial_->output_ready();
        if (console_host_) {
            console_host_->output_ready();
        }
    });
    const auto on_input_room = [this] {
        if (console_input_) {
            console_input_->tell_room();
        }
    };
    serial_ = std::make_unique<Serial>(*console_output_, serial_irq_, on_input_room);
    ConsoleInput::Receiver receiver = [this](auto bytes) { return serial_->receive(bytes); };
    if (config_.console.virtio) {
        console_host_ = std::make_unique<virtio::ConsoleHost>(*console_output_, on_input_room);
        receiver = [this](auto bytes) { return console_host_->receive(bytes); };
    }
    if (console_input_fd_.valid()) {
        console_input_ =
            std::make_unique<ConsoleInput>(loop_, console_input_fd_.get(), files.input_is_terminal,
                                           std::move(receiver), [this] { end(ExitStatus::forced_stop); });
    }
    attach(arch::kSerialPlace, *serial_);
    vm_.connect_irqfd(arch::kSerialPlace.node.interrupt.value(), serial_irq_.fd());
}

void Machine::make_devices(MachineFiles& files) {
    const GuestRequestHandler on_request = [this](GuestRequest request) { take_request(request); };
    make_console(files);

    power_ = std::make_unique<Power>(power_irq_, on_request);
    attach(arch::kPowerPlace, *power_);
    vm_.connect_irqfd(arch::kPowerPlace.node.interrupt.value(), power_irq_.fd());

    pvpanic_ = std::make_unique<Pvpanic>(on_request);
    attach(arch::kPvpanicPlace, *pvpanic_);

    reset_line_ = std::make_unique<I8042>(on_request);
    ports_.attach(arch::kResetLinePorts, *reset_line_, "i8042");

    if (config_.platform == boot::PlatformTables::fdt) {
        rtc_ = std::make_unique<Rtc>();
        attach(arch::kRtcPlace, *rtc_);
    }
    add_virtio_devices(files);
}

void Machine::add_virtio_devices(MachineFiles& files) {
    virtio_devices_ = std::make_unique<VirtioDevices>(
        config_.bus_in_use(),
        VirtioDevices::Surroundings{
            .vm = vm_, .memory = memory_, .ports = ports_, .memory_bus = memory_bus_, .platform = platform_});
    using enum VirtioDevices::Stay;
    auto image = files.disks.begin();
    auto server = files.disk_servers.begin();
    for (size_t number = 0; number < config_.disks.size(); ++number) {
        const DiskConfig& disk = config_.disks[number];
        const std::string name = disk.name(number);
        if (disk.is_served) {
            virtio_devices_->add(std::make_unique<virtio::VhostUserDevice>(
                                     virtio::served_disk_kind(disk.queues), std::move(server->server),
                                     std::move(server->find), name),
                                 name, may_end);
            ++server;
        } else {
            virtio_devices_->add(make_disk(std::move(*image++), disk, name), name, may_end);
        }
    }
    auto net_files = files.nets.begin();
    auto net_server = files.net_servers.begin();
    for (size_t number = 0; number < config_.nets.size(); ++number) {
        const NetConfig& net = config_.nets[number];
        const std::string name = net_name(number);
        if (net.kind == NetConfig::Kind::served) {
            virtio_devices_->add(std::make_unique<virtio::VhostUserDevice>(
                                     virtio::served_net_kind(net.mac.value_or(random_mac()), net.mtu),
                                     std::move(net_server->server), std::move(net_server->find), name),
                                 name, may_end);
            ++net_server;
        } else {
            virtio_devices_->add(make_net(std::move(*net_files++), net, name), name, may_end);
        }
    }
    for (size_t number = 0; number < files.shares.size(); ++number) {
        const ShareConfig& share = config_.shares[number];
        virtio_devices_->add(
            std::make_unique<virtio::VhostUserDevice>(virtio::share_kind(share.tag),
                                                      std::move(files.shares[number]), nullptr, share.tag),
            share.tag, always);
    }
    if (config_.view) {
        virtio_devices_->add(std::make_unique<virtio::FileShare>(config_.view->tag, std::move(files.view)),
                             config_.view->tag, always);
    }
    if (config_.vsock) {
        virtio_devices_->add(
            std::make_unique<virtio::Vsock>(
                virtio::VsockSettings{.cid = config_.vsock->cid, .connect = std::move(files.vsock_connector)},
                std::move(files.vsock)),
            "vsock", always);
    }
    if (config_.rng) {
        virtio_devices_->add(std::make_unique<virtio::Rng>(), "rng", always);
    }
    if (console_host_) {
        auto console = std::make_unique<virtio::Console>(
            *console_host_, terminal_size(console_output_fd_.get(), console_input_fd_.get()));
        console_ = console.get();
        virtio_devices_->add(std::move(console), "console", always);
    }
    if (!files.ports.empty()) {
        add_ports(files);
    }
}

void Machine::add_ports(MachineFiles& files) {
    std::vector<virtio::NamedPort> ports;
    for (size_t number = 0; number < files.ports.size(); ++number) {
        const std::string& name = config_.ports[number].name;
        PortFiles& port = files.ports[number];
        if (port.listener.valid()) {
            port_hosts_.push_back(std::make_unique<virtio::SocketHost>(std::move(port.listener)));
        } else {
            port_hosts_.push_back(std::make_unique<virtio::DescriptorHost>(
                std::move(port.input), std::move(port.output), "port " + name));
        }
        ports.push_back({.name = name, .host = *port_hosts_.back()});
    }
    auto device = std::make_unique<virtio::Console>(std::move(ports));
    ports_device_ = device.get();
    virtio_devices_->add(std::move(device), "ports", VirtioDevices::Stay::always);
}

void Machine::need_pci(const std::string& what) const {
    if (config_.bus_in_use() != VirtioBus::pci) {
        throw Error{ExitStatus::usage, what, "only on a PCI bus devices come and go while the guest runs",
                    "boot with --bus pci"};
    }
}

void Machine::add_disk(const DiskConfig& disk, virtio::DiskImage image) {
    const std::string what = "cannot add disk '" + disk.text() + "'";
    need_pci(what);
    if (disk.id.empty()) {
        throw Error{ExitStatus::usage, what, "it has no id to be removed by", "give one (id=NAME)"};
    }
    virtio_devices_->add(make_disk(std::move(image), disk, disk.id), disk.id, VirtioDevices::Stay::may_end);
}

void Machine::add_net(const std::string& id, const NetConfig& net, std::vector<virtio::NetLink> links) {
    need_pci("cannot add network device '" + id + "'");
    virtio_devices_->add(make_net({.links = std::move(links)}, net, id), id, VirtioDevices::Stay::may_end);
}

void Machine::remove(const std::string& id) {
    need_pci("cannot remove device '" + id + "'");
    virtio_devices_->remove(id);
}

std::optional<Timeline::Clock::time_point> Machine::first_line_time() const {
    return console_output_->first_line_time();
}

void Machine::end(ExitStatus how) {
    int not_yet = -1;
    ended_.compare_exchange_strong(not_yet,
                                   static_cast<int>(how));  // the first cause is the one that is told
    signal_eventfd(guest_event_.get());
}

void Machine::take_request(GuestRequest request) {
    switch (request) {
        case GuestRequest::power_off:
            end(ExitStatus::success);
            break;
        case GuestRequest::reset:
            end(panicked_ ? ExitStatus::guest_panic : ExitStatus::guest_reboot);
            break;
        case GuestRequest::panic:
            panicked_ = true;
            signal_eventfd(guest_event_.get());
            break;
    }
}

void Machine::take_vcpu_end(uint32_t vcpu_index, const VcpuExit& exit) {
    if (const auto* failure = std::get_if<vcpu_exit::Failure>(&exit)) {
        log_warning("vCPU " + std::to_string(vcpu_index) + " cannot go on: " + failure->why);
        end(ExitStatus::guest_failure);
    } else if (const auto* event = std::get_if<vcpu_exit::SystemEvent>(&exit)) {
        end(event->type == KVM_SYSTEM_EVENT_SHUTDOWN ? ExitStatus::success : ExitStatus::guest_reboot);
    } else {
        end(panicked_ ? ExitStatus::guest_panic : ExitStatus::guest_triple_fault);
    }
}

void Machine::take_keeper_message(int control_fd) {
    const std::optional<KeeperRequest> request = receive_request(control_fd);
    if (!request) {
        keeper_is_gone_ = true;
        end(ExitStatus::forced_stop);
        return;
    }
    switch (request->message) {
        case KeeperMessage::press_power_button:
            resume();  // a guest that stands still cannot heed it
            power_->press_button();
            loop_.set_deadline(config_.stop_timeout, [this] { end(ExitStatus::forced_stop); });
            break;
        case KeeperMessage::terminal_resized: {
            const auto size = terminal_size(console_output_fd_.get(), console_input_fd_.get());
            if (console_ != nullptr && size) {
                console_->resize(*size);
            }
            break;
        }
        case KeeperMessage::stop_now:
            end(ExitStatus::forced_stop);
            break;
        case KeeperMessage::pause:
        case KeeperMessage::resume:
        case KeeperMessage::save:
            send_answer(control_fd, obey(*request));
            break;
    }
}

std::string Machine::obey(const KeeperRequest& request) {
    try {
        if (request.message == KeeperMessage::pause) {
            pause();
        } else if (request.message == KeeperMessage::resume) {
            resume();
        } else {
            save(request.descriptors.at(0).get(), request.descriptors.at(1).get());
        }
    } catch (const std::exception& error) {
        return error.what();
    }
    return "";
}

void Machine::pause() {
    if (!is_paused_) {
        for (const auto& thread : threads_) {
            thread->request_pause();
        }
        for (const auto& thread : threads_) {
            thread->wait_until_paused();
        }
        is_paused_ = true;
    }
}

void Machine::resume() {
    if (is_paused_) {
        for (const auto& thread : threads_) {
            arch::tell_of_pause(thread->paused_vcpu());
            thread->resume();
        }
        is_paused_ = false;
    }
}

std::vector<Stateful*> Machine::parts() {
    std::vector<Stateful*> all{serial_.get(), power_.get()};
    if (rtc_) {
        all.push_back(rtc_.get());
    }
    all.push_back(virtio_devices_.get());
    return all;
}

namespace {

/// Parts of a machine, quiesced for as long as this is there.
class QuietParts {
  public:
    explicit QuietParts(std::vector<Stateful*> parts) : parts_{std::move(parts)} {
        for (Stateful* const part : parts_) {
            part->quiesce();
        }
    }
    QuietParts(const QuietParts&) = delete;
    QuietParts& operator=(const QuietParts&) = delete;
    ~QuietParts() {
        for (Stateful* const part : parts_) {
            part->resume();
        }
    }

  private:
    const std::vector<Stateful*> parts_;
};

}  // namespace

void Machine::save(int state_fd, int memory_fd) {
    if (!is_paused_) {
        throw Error{ExitStatus::usage, "cannot take a snapshot", "the machine is running", "pause it first"};
    }
    for (const DiskConfig& disk : config_.disks) {
        if (disk.use == virtio::DiskUse::overlay) {
            throw Error{ExitStatus::usage, "cannot take a snapshot",
                        "what the guest has written over disk '" + disk.text() + "' is in no file",
                        "boot it with a disk that it may write"};
        }
    }
    const QuietParts quiet{parts()};
    SnapshotState state;
    const auto add = [&state](std::string name, const auto& save_part) {
        StateWriter writer;
        save_part(writer);
        state.add(std::move(name), writer.bytes());
    };
    const std::string config = config_.to_json();
    const auto text = std::as_bytes(std::span{config});
    state.add("config", {text.begin(), text.end()});
    const SnapshotMemory memory = SnapshotMemory::write(memory_, memory_fd);
    state.add("memory", memory.to_bytes());
    add("kvm", [this](StateWriter& writer) { arch::save_vm(vm_, writer); });
    for (const auto& thread : threads_) {
        Vcpu& vcpu = thread->paused_vcpu();
        add("vcpu " + std::to_string(vcpu.index()),
            [&](StateWriter& writer) { arch::save_vcpu(kvm_, vcpu, writer); });
    }
    add("devices", [this](StateWriter& writer) {
        for (const Stateful* const part : parts()) {
            part->save(writer);
        }
    });
    write_whole(state_fd, state.to_bytes(), "the snapshot's state");
}

void Machine::load(const SnapshotState& state) {
    StateReader kvm{state.section("kvm")};
    arch::load_vm(vm_, kvm);
    kvm.end();
    for (Vcpu& vcpu : vcpus_) {
        StateReader reader{state.section("vcpu " + std::to_string(vcpu.index()))};
        arch::load_vcpu(vcpu, reader);
        reader.end();
        arch::tell_of_pause(vcpu);
    }
    StateReader devices{state.section("devices")};
    for (Stateful* const part : parts()) {
        part->load(devices);
    }
    devices.end();
    for (Stateful* const part : parts()) {
        part->resume();
    }
}

void Machine::look_after_guest() {
    drain_eventfd(guest_event_.get());
    if (ended_ >= 0) {
        loop_.stop();
    } else if (panicked_) {
        loop_.set_deadline(kPanicGrace, [this] { end(ExitStatus::guest_panic); });
    }
}

ExitStatus Machine::run(int control_fd) {
    loop_.watch(control_fd, [this, control_fd] { take_keeper_message(control_fd); });
    loop_.watch(guest_event_.get(), [this] { look_after_guest(); });
    VcpuThread::install_kick_handler();
    for (Vcpu& vcpu : vcpus_) {
        threads_.push_back(std::make_unique<VcpuThread>(std::move(vcpu), surroundings_));
    }
    vcpus_.clear();
    guard_this_thread(ThreadKind::main);  // last, since the others are made by it
    timeline_.first_instruction = Timeline::Clock::now();
    for (const auto& thread : threads_) {
        if (is_paused_) {
            thread->request_pause();
        }
        thread->start();
    }
    loop_.run();
    threads_.clear();
    const auto how = static_cast<ExitStatus>(ended_.load());
    if (how != ExitStatus::forced_stop) {
        for (virtio::Console* device : {console_, ports_device_}) {
            if (device != nullptr) {
                device->finish();
            }
        }
    }
    return how;
}

}  // namespace hull
