#include "vmm/arch/x86_64/registers.h"

namespace hull::arch {

namespace {

using boot::x86::EntryState;

// Intel SDM vol. 3A, 2.5 "Control Registers" and 2.2.1 "Extended Feature Enable Register".
constexpr uint64_t kCr0ProtectedMode = 1U << 0;
constexpr uint64_t kCr0ExtensionType = 1U << 4;
constexpr uint64_t kCr0Paging = 1U << 31;
constexpr uint64_t kCr4PhysicalAddressExtension = 1U << 5;
constexpr uint64_t kEferLongModeEnable = 1U << 8;
constexpr uint64_t kEferLongModeActive = 1U << 10;

constexpr uint64_t kFlagsAfterReset = 0x2;  // bit 1 is always set; interrupts are off

// Segment types (SDM vol. 3A, 3.4.5.1 and 3.5).
constexpr uint8_t kCodeExecuteReadAccessed = 0xb;
constexpr uint8_t kDataReadWriteAccessed = 0x3;
constexpr uint8_t kBusyTaskSegment = 0xb;

kvm_segment flat_segment(uint16_t selector, uint8_t type, bool long_mode_code) {
    kvm_segment segment{};
    segment.limit = 0xffffffff;
    segment.selector = selector;
    segment.type = type;
    segment.present = 1;
    segment.s = 1;
    segment.g = 1;
    segment.l = long_mode_code ? 1 : 0;
    segment.db = long_mode_code ? 0 : 1;
    return segment;
}

kvm_segment task_segment() {
    kvm_segment segment{};
    segment.limit = 0x67;
    segment.selector = boot::x86::kTaskSelector;
    segment.type = kBusyTaskSegment;
    segment.present = 1;
    return segment;
}

}  // namespace

std::vector<InitialMsr> initial_msrs() {
    constexpr uint32_t kMiscEnable = 0x1a0;
    constexpr uint64_t kFastStrings = 1U << 0;
    constexpr uint64_t kNoBranchTraceStore = 1U << 11;
    constexpr uint64_t kNoEventSampling = 1U << 12;
    constexpr uint32_t kMtrrDefaultType = 0x2ff;
    constexpr uint64_t kMtrrEnable = 1U << 11;
    constexpr uint64_t kWriteBack = 6;
    return {{kMiscEnable, kFastStrings | kNoBranchTraceStore | kNoEventSampling},
            {kMtrrDefaultType, kMtrrEnable | kWriteBack}};
}

void set_entry_registers(const EntryState& entry, kvm_sregs& system, kvm_regs& general) {
    const bool long_mode = entry.mode == EntryState::Mode::long_mode;
    system.cs = flat_segment(boot::x86::kCodeSelector, kCodeExecuteReadAccessed, long_mode);
    const kvm_segment data = flat_segment(boot::x86::kDataSelector, kDataReadWriteAccessed, false);
    system.ds = system.es = system.fs = system.gs = system.ss = data;
    system.tr = task_segment();
    system.gdt.base = entry.gdt;
    system.gdt.limit = entry.gdt_limit;
    system.idt.base = 0;
    system.idt.limit = 0;
    system.cr0 = kCr0ProtectedMode | kCr0ExtensionType;
    if (long_mode) {
        system.cr0 |= kCr0Paging;
        system.cr3 = entry.page_table;
        system.cr4 |= kCr4PhysicalAddressExtension;
        system.efer |= kEferLongModeEnable | kEferLongModeActive;
    }

    general = {};
    general.rflags = kFlagsAfterReset;
    general.rip = entry.instruction_pointer;
    general.rsp = entry.stack_pointer;
    (long_mode ? general.rsi : general.rbx) = entry.boot_data;
}

}  // namespace hull::arch
