#include "vmm/arch/arch.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/random.h"
#include "boot/x86/loader.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/power.h"
#include "devices/legacy/pvpanic.h"
#include "devices/legacy/rtc.h"
#include "devices/legacy/serial.h"
#include "devices/pci/bus.h"
#include "devices/virtio/mmio_transport.h"
#include "vmm/arch/x86_64/cpuid.h"
#include "vmm/arch/x86_64/registers.h"
#include "vmm/kvm/counted_list.h"

namespace hull::arch {

// 255 is the broadcast id of the local APICs, and 254 is the I/O APIC's.
const uint32_t kMaxCpus = 254;

namespace {

// Three pages below the BIOS's old place for KVM's own use on Intel processors (api.rst 4.36, 4.38).
constexpr uint64_t kIdentityMapAddress = 0xfffb'c000;
constexpr uint64_t kTaskStateAddress = kIdentityMapAddress + 0x1000;

DevicePlace port_device(DeviceKind kind, const char* name, uint64_t port, uint64_t ports,
                        std::optional<uint32_t> gsi) {
    return {{kind, AddressSpace::port, GuestRange::of(port, ports), gsi}, name};
}

DevicePlace memory_device(DeviceKind kind, const char* name, uint64_t address, uint64_t size,
                          std::optional<uint32_t> gsi) {
    return {{kind, AddressSpace::memory, GuestRange::of(address, size), gsi}, name};
}

}  // namespace

// Ports and interrupts where a PC has them; the rest below the I/O APIC (0xfec00000), out of RAM's way.
const DevicePlace kSerialPlace = port_device(DeviceKind::serial, "serial", 0x3f8, Serial::kPorts, 4);
const DevicePlace kRtcPlace = port_device(DeviceKind::rtc, "rtc", Rtc::kFirstPort, Rtc::kPorts, std::nullopt);
const GuestRange kResetLinePorts = GuestRange::of(I8042::kFirstPort, I8042::kPorts);
const DevicePlace kPowerPlace = memory_device(DeviceKind::power, "power", 0xfe00'0000, Power::kSize, 9);
const DevicePlace kPvpanicPlace =
    memory_device(DeviceKind::pvpanic, "pvpanic", 0xfe00'1000, Pvpanic::kSize, std::nullopt);

const uint32_t kMostMmioDevices = 14;
// One interrupt each, so that no driver has to ask whether it was meant: from the first after kPowerPlace's
// to the I/O APIC's last.
DevicePlace virtio_mmio_place(uint32_t number) {
    constexpr uint64_t kFirstAddress = 0xfe01'0000;
    constexpr uint32_t kFirstGsi = 10;
    return memory_device(DeviceKind::virtio_mmio, "virtio-mmio",
                         kFirstAddress + number * virtio::MmioTransport::kSize, virtio::MmioTransport::kSize,
                         kFirstGsi + number);
}

const PciHost kPciHost{.configuration = GuestRange::of(0xe000'0000, pci::PciBus::kEcamSize),
                       .window = GuestRange::of(0xe010'0000, pci::PciBus::kWindowSize)};

// Older kernels (Debian's 6.1) believe in the memory accesses only where these answer, and complain
// otherwise.
const std::optional<GuestRange> kPciPorts = GuestRange::of(0xcf8, pci::PciBus::kPorts);

// The I/O APIC has 24 pins. The first 16 are the two 8259's too, as on a PC.
const uint32_t kFirstMessageInterrupt = 24;
std::vector<kvm_irq_routing_entry> interrupt_pins() {
    std::vector<kvm_irq_routing_entry> pins;
    const auto add = [&pins](uint32_t gsi, uint32_t controller, uint32_t pin) {
        kvm_irq_routing_entry entry{};
        entry.gsi = gsi;
        entry.type = KVM_IRQ_ROUTING_IRQCHIP;
        entry.u.irqchip.irqchip = controller;
        entry.u.irqchip.pin = pin;
        pins.push_back(entry);
    };
    for (uint32_t gsi = 0; gsi < kFirstMessageInterrupt; ++gsi) {
        add(gsi, KVM_IRQCHIP_IOAPIC, gsi);
        if (gsi < 16) {
            add(gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % 8);
        }
    }
    return pins;
}

const std::vector<NeededCapability> kNeededCapabilities = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

std::string default_cmdline(boot::PlatformTables tables, bool pci, bool virtio_console) {
    // Each word spares something: messages, at two exits a character; crypto self-tests, which are a matter
    // for hardware's certification; a check of each further processor's clock, which kvmclock makes needless;
    // the probing of serial ports and of a PCI bus that are not there. A panic ends in a reset, and so the
    // machine.
    std::string words = virtio_console ? "console=hvc0" : "console=ttyS0";
    words += " quiet panic=-1 cryptomgr.notests tsc=reliable 8250.nr_uarts=1";
    words += pci ? "" : " pci=off";
    if (tables == boot::PlatformTables::fdt) {
        words += " acpi=off";
    }
    return words;
}

std::vector<GuestRange> memory_layout(uint64_t bytes) {
    return boot::x86::memory_layout(bytes);
}

void prepare_vm(Vm& vm) {
    const uint64_t identity_map = kIdentityMapAddress;
    if (vm.kvm().capability(KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0) {
        vm.request(KVM_SET_IDENTITY_MAP_ADDR, &identity_map, "KVM_SET_IDENTITY_MAP_ADDR");
    }
    vm.request(KVM_SET_TSS_ADDR, static_cast<unsigned long>(kTaskStateAddress), "KVM_SET_TSS_ADDR");
    vm.request(KVM_CREATE_IRQCHIP, 0UL, "KVM_CREATE_IRQCHIP");
    kvm_pit_config pit{};
    pit.flags =
        KVM_PIT_SPEAKER_DUMMY;  // port 0x61, by which kernels time the PIT, is answered without an exit too
    vm.request(KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
}

namespace {

void set_cpuid(const Kvm& kvm, Vcpu& vcpu, uint32_t cpus) {
    using CpuidList = CountedList<kvm_cpuid_entry2>;
    constexpr uint32_t kMostEntries = 256;  // what KVM itself takes (KVM_MAX_CPUID_ENTRIES)
    CpuidList supported{kMostEntries};
    if (ioctl(kvm.fd(), CpuidList::request(KVM_GET_SUPPORTED_CPUID), supported.data()) < 0) {
        throw Error{ExitStatus::host_unfit, "cannot ask KVM for the processor's features", errno_text(errno),
                    "see what 'hull check' says"};
    }
    const CpuidOptions options{
        .index = vcpu.index(), .cpus = cpus, .tsc_deadline = kvm.capability(KVM_CAP_TSC_DEADLINE_TIMER) > 0};
    CpuidList offered{make_cpuid(supported.entries(), options)};
    vcpu.request(CpuidList::request(KVM_SET_CPUID2), offered.data(), "KVM_SET_CPUID2");
}

void set_msrs(Vcpu& vcpu) {
    using MsrList = CountedList<kvm_msr_entry>;
    for (const InitialMsr& msr : initial_msrs()) {
        kvm_msr_entry entry{};
        entry.index = msr.index;
        entry.data = msr.value;
        MsrList list{std::span<const kvm_msr_entry>{&entry, 1}};
        // One at a time, since a guest does without each of them, only slower.
        static_cast<void>(vcpu.try_request(MsrList::request(KVM_SET_MSRS), list.data()));
    }
}

// Lets the vCPU's time-stamp counter run at the host's rate (KVM_SET_TSC_KHZ, 0 for the host's own). KVM
// gives a new vCPU the rate that Linux knew when the module was loaded. Linux measures again a second into
// its boot, and where the processor does not promise a constant rate, as in most virtual machines, the old
// value stays: seen 0.08 % too low in a seventh of the boots. Then KVM (6.1) refuses the vCPU that rate and
// leaves it with a counter that it takes for standing still: all the guest's timers come late by as long as
// the host is up.
void set_tsc_rate(Vcpu& vcpu) {
    // A KVM that knows no rates has no wrong one either.
    static_cast<void>(vcpu.try_request(KVM_SET_TSC_KHZ, nullptr));
}

void enter(Vcpu& vcpu, const boot::x86::EntryState& entry) {
    kvm_sregs system{};
    vcpu.request(KVM_GET_SREGS, &system, "KVM_GET_SREGS");
    kvm_regs general{};
    set_entry_registers(entry, system, general);
    vcpu.request(KVM_SET_SREGS, &system, "KVM_SET_SREGS");
    vcpu.request(KVM_SET_REGS, &general, "KVM_SET_REGS");
}

}  // namespace

void prepare_vcpu(const Kvm& kvm, Vcpu& vcpu, uint32_t cpus) {
    set_cpuid(kvm, vcpu, cpus);
    set_tsc_rate(vcpu);
    set_msrs(vcpu);
}

void load_guest(BootFiles files, boot::PlatformTables tables, const boot::Platform& platform,
                GuestMemory& memory, Vcpu& boot_vcpu) {
    boot::x86::BootSources sources{.kernel = std::move(files.kernel),
                                   .initramfs = std::move(files.initramfs),
                                   .cmdline = std::move(files.cmdline),
                                   .tables = tables,
                                   .random_seed = std::array<std::byte, 32>{}};
    take_random(std::as_writable_bytes(std::span{&sources.kernel_place, 1}));
    take_random(*sources.random_seed);
    enter(boot_vcpu, boot::x86::load(sources, platform, memory));
}

void set_system_call_result(ucontext_t& context, int64_t result) {
    context.uc_mcontext.gregs[REG_RAX] = result;
}

uint64_t prepare_speed_probe(GuestMemory& memory, Vcpu& vcpu) {
    constexpr uint64_t kIterations = 250'000;
    constexpr uint64_t kAddress = 0x100;
    // mov ecx, kIterations; again: dec ecx; jnz again; out 0x80, al
    constexpr std::array<uint8_t, 10> kLoop = {
        0xb9, kIterations & 0xff, kIterations >> 8 & 0xff, kIterations >> 16, 0x00, 0x49, 0x75, 0xfd, 0xe6,
        0x80};
    if (!memory.write(GuestAddress{kAddress}, kLoop)) {
        throw std::logic_error{"the speed probe's guest has no memory at its start"};
    }
    enter(vcpu, {.mode = boot::x86::EntryState::Mode::protected_mode, .instruction_pointer = kAddress});
    return 2 * kIterations;
}

}  // namespace hull::arch
