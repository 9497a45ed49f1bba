// What KVM keeps of a machine, taken out and put back (Linux, Documentation/virt/kvm/api.rst, whose section
// numbers are given).
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/error.h"
#include "vmm/arch/arch.h"
#include "vmm/arch/x86_64/cpuid.h"
#include "vmm/arch/x86_64/sized_requests.h"
#include "vmm/kvm/counted_list.h"

namespace hull::arch {

namespace {

using MsrList = CountedList<kvm_msr_entry>;
using CpuidList = CountedList<kvm_cpuid_entry2>;

constexpr uint32_t kMostCpuidEntries = 256;  // what KVM itself takes (KVM_MAX_CPUID_ENTRIES)
constexpr uint32_t kMostMsrs = 1024;
constexpr uint32_t kTsc = 0x10;
constexpr uint32_t kTscDeadline = 0x6e0;
constexpr std::array<uint32_t, 3> kControllers{KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
                                               KVM_IRQCHIP_IOAPIC};

template <typename T>
void put(StateWriter& state, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    state.put_bytes(std::as_bytes(std::span{&value, 1}));
}

template <typename T>
T get(StateReader& state) {
    const auto bytes = state.get_bytes();
    state.require(bytes.size() == sizeof(T), "it has another size than here");
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

template <typename T>
void put_all(StateWriter& state, const std::vector<T>& values) {
    state.put_bytes(std::as_bytes(std::span{values}));
}

template <typename T>
std::vector<T> get_all(StateReader& state, size_t most) {
    const auto bytes = state.get_bytes();
    state.require(bytes.size() % sizeof(T) == 0 && bytes.size() / sizeof(T) <= most,
                  "a list in it has an impossible size");
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

/// Asks KVM for one structure and puts it down.
template <typename T>
void save(Vcpu& vcpu, StateWriter& state, unsigned long number, const char* name) {
    T value{};
    vcpu.request(number, &value, name);
    put(state, value);
}

template <typename T>
void load(Vcpu& vcpu, StateReader& state, unsigned long number, const char* name) {
    const T value = get<T>(state);
    vcpu.request(number, &value, name);
}

/// Those that KVM says hold state (4.3), and the memory types, which older kernels leave out of its list.
std::vector<uint32_t> msrs_to_save(const Kvm& kvm) {
    std::vector<uint32_t> list(1 + kMostMsrs);  // struct kvm_msr_list: a count, and so many numbers
    list.front() = kMostMsrs;
    if (ioctl(kvm.fd(), kGetMsrIndexList, list.data()) < 0) {
        throw Error{ExitStatus::host_unfit, "cannot ask KVM for the processor's registers", errno_text(errno),
                    "see what 'hull check' says"};
    }
    std::vector<uint32_t> msrs(list.begin() + 1, list.begin() + 1 + std::min(list.front(), kMostMsrs));
    constexpr uint32_t kFirstVariable = 0x200;
    constexpr uint32_t kVariables = 16;
    constexpr std::array<uint32_t, 12> kOthers{0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                               0x26b, 0x26c, 0x26d, 0x26e, 0x26f, 0x2ff};
    for (uint32_t number = 0; number < kVariables; ++number) {
        msrs.push_back(kFirstVariable + number);
    }
    msrs.insert(msrs.end(), kOthers.begin(), kOthers.end());
    std::ranges::sort(msrs);
    msrs.erase(std::unique(msrs.begin(), msrs.end()), msrs.end());
    return msrs;
}

/// The values of those that can be read, one at a time: KVM ends a list at the first that it refuses.
std::vector<kvm_msr_entry> read_msrs(Vcpu& vcpu, const std::vector<uint32_t>& numbers) {
    std::vector<kvm_msr_entry> found;
    for (const uint32_t number : numbers) {
        kvm_msr_entry entry{};
        entry.index = number;
        MsrList list{std::span<const kvm_msr_entry>{&entry, 1}};
        if (vcpu.request(MsrList::request(KVM_GET_MSRS), list.data(), "KVM_GET_MSRS") == 1) {
            found.push_back(list.entries().front());
        }
    }
    return found;
}

/// Some can be read only: these are right if they have that value here, too.
void write_msr(Vcpu& vcpu, const kvm_msr_entry& entry) {
    MsrList list{std::span<const kvm_msr_entry>{&entry, 1}};
    if (vcpu.request(MsrList::request(KVM_SET_MSRS), list.data(), "KVM_SET_MSRS") == 1) {
        return;
    }
    const std::vector<kvm_msr_entry> here = read_msrs(vcpu, {entry.index});
    if (here.empty() || here.front().data != entry.data) {
        throw Error{ExitStatus::host_unfit,
                    "cannot go on with vCPU " + std::to_string(vcpu.index()) + " of the snapshot",
                    "this host's KVM does not take the value of its register " + std::to_string(entry.index),
                    "restore it on a host like that which it comes from"};
    }
}

/// The deadline last: it counts from the time-stamp counter, which comes first, and needs the APIC's mode.
void write_msrs(Vcpu& vcpu, std::vector<kvm_msr_entry> entries) {
    const auto turn = [](const kvm_msr_entry& entry) {
        return entry.index == kTsc ? 0 : entry.index == kTscDeadline ? 2 : 1;
    };
    std::ranges::stable_sort(entries, {}, turn);
    for (const kvm_msr_entry& entry : entries) {
        write_msr(vcpu, entry);
    }
}

std::vector<kvm_cpuid_entry2> cpuid_of(Vcpu& vcpu) {
    CpuidList list{kMostCpuidEntries};
    vcpu.request(CpuidList::request(KVM_GET_CPUID2), list.data(), "KVM_GET_CPUID2");
    return list.entries();
}

void load_cpuid(Vcpu& vcpu, StateReader& state) {
    const auto seen = get_all<kvm_cpuid_entry2>(state, kMostCpuidEntries);
    if (const std::string why = why_not_on(seen, cpuid_of(vcpu)); !why.empty()) {
        throw Error{ExitStatus::host_unfit, "cannot restore the snapshot on this host", why,
                    "restore it on a host like that which it comes from"};
    }
    CpuidList list{seen};
    vcpu.request(CpuidList::request(KVM_SET_CPUID2), list.data(), "KVM_SET_CPUID2");
}

/// In kHz; 0 where KVM knows no rates.
uint32_t tsc_rate(Vcpu& vcpu) {
    return vcpu.try_request(KVM_GET_TSC_KHZ, nullptr)
               ? static_cast<uint32_t>(vcpu.request(KVM_GET_TSC_KHZ, nullptr, "KVM_GET_TSC_KHZ"))
               : 0;
}

/// A guest has measured its counter's rate once. What a host measures of itself differs a little each time,
/// which is no reason to have KVM scale every read of the counter.
void load_tsc_rate(Vcpu& vcpu, StateReader& state) {
    constexpr uint32_t kTolerated = 1000;  // a part of it: 0.1 %
    const auto wanted = state.get<uint32_t>();
    const uint32_t here = tsc_rate(vcpu);
    const uint32_t apart = wanted > here ? wanted - here : here - wanted;
    if (wanted != 0 && here != 0 && apart > here / kTolerated) {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the request takes a number
        if (!vcpu.try_request(KVM_SET_TSC_KHZ, reinterpret_cast<const void*>(uintptr_t{wanted}))) {
            throw Error{ExitStatus::host_unfit, "cannot restore the snapshot on this host",
                        "its guest's time-stamp counter runs at " + std::to_string(wanted) +
                            " kHz, this host's at " + std::to_string(here) +
                            " kHz and KVM cannot change that",
                        "restore it on a host like that which it comes from"};
        }
    }
}

}  // namespace

void save_vm(Vm& vm, StateWriter& state) {
    state.begin("kvm");
    for (const uint32_t number : kControllers) {
        kvm_irqchip controller{};
        controller.chip_id = number;
        vm.request(KVM_GET_IRQCHIP, &controller, "KVM_GET_IRQCHIP");
        put(state, controller);
    }
    kvm_pit_state2 timer{};
    vm.request(KVM_GET_PIT2, &timer, "KVM_GET_PIT2");
    put(state, timer);
    kvm_clock_data clock{};
    vm.request(KVM_GET_CLOCK, &clock, "KVM_GET_CLOCK");
    state.put(static_cast<uint64_t>(clock.clock));
}

void load_vm(Vm& vm, StateReader& state) {
    state.begin("kvm");
    for (const uint32_t number : kControllers) {
        auto controller = get<kvm_irqchip>(state);
        state.require(controller.chip_id == number, "its interrupt controllers are others");
        vm.request(KVM_SET_IRQCHIP, &controller, "KVM_SET_IRQCHIP");
    }
    const auto timer = get<kvm_pit_state2>(state);
    vm.request(KVM_SET_PIT2, &timer, "KVM_SET_PIT2");
    kvm_clock_data clock{};
    clock.clock = state.get<uint64_t>();
    vm.request(KVM_SET_CLOCK, &clock, "KVM_SET_CLOCK");
}

void save_vcpu(const Kvm& kvm, Vcpu& vcpu, StateWriter& state) {
    state.begin("vcpu " + std::to_string(vcpu.index()));
    put_all(state, cpuid_of(vcpu));
    state.put(tsc_rate(vcpu));
    // First: KVM may have an event of the APIC's under way that it finishes for this.
    save<kvm_mp_state>(vcpu, state, KVM_GET_MP_STATE, "KVM_GET_MP_STATE");
    save<kvm_regs>(vcpu, state, KVM_GET_REGS, "KVM_GET_REGS");
    save<kvm_sregs>(vcpu, state, KVM_GET_SREGS, "KVM_GET_SREGS");
    save<XsaveArea>(vcpu, state, kGetXsave, "KVM_GET_XSAVE");
    save<kvm_xcrs>(vcpu, state, KVM_GET_XCRS, "KVM_GET_XCRS");
    save<kvm_debugregs>(vcpu, state, KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS");
    save<kvm_lapic_state>(vcpu, state, KVM_GET_LAPIC, "KVM_GET_LAPIC");
    put_all(state, read_msrs(vcpu, msrs_to_save(kvm)));
    save<kvm_vcpu_events>(vcpu, state, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS");
}

void load_vcpu(Vcpu& vcpu, StateReader& state) {
    state.begin("vcpu " + std::to_string(vcpu.index()));
    load_cpuid(vcpu, state);
    load_tsc_rate(vcpu, state);
    load<kvm_mp_state>(vcpu, state, KVM_SET_MP_STATE, "KVM_SET_MP_STATE");
    load<kvm_regs>(vcpu, state, KVM_SET_REGS, "KVM_SET_REGS");
    load<kvm_sregs>(vcpu, state, KVM_SET_SREGS, "KVM_SET_SREGS");
    load<XsaveArea>(vcpu, state, kSetXsave, "KVM_SET_XSAVE");
    load<kvm_xcrs>(vcpu, state, KVM_SET_XCRS, "KVM_SET_XCRS");
    load<kvm_debugregs>(vcpu, state, KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS");
    // Behind the system registers, which say where the APIC is.
    load<kvm_lapic_state>(vcpu, state, KVM_SET_LAPIC, "KVM_SET_LAPIC");
    write_msrs(vcpu, get_all<kvm_msr_entry>(state, kMostMsrs));
    load<kvm_vcpu_events>(vcpu, state, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS");
}

void tell_of_pause(Vcpu& vcpu) {
    static_cast<void>(vcpu.try_request(KVM_KVMCLOCK_CTRL, nullptr));
}

}  // namespace hull::arch
