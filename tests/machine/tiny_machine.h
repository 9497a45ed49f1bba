// A virtual machine with a little memory and no devices but KVM's own, for a guest of a few instructions.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include "base/guest_memory.h"
#include "boot/x86/entry.h"
#include "vmm/arch/arch.h"
#include "vmm/arch/x86_64/registers.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vm.h"

namespace hull::test {

/// Skips where KVM cannot be used, and says why.
class KvmTest : public testing::Test {
  protected:
    void SetUp() override {
        if (access("/dev/kvm", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "/dev/kvm cannot be used: " << std::strerror(errno);
        }
    }
};

class TinyMachine {
  public:
    static constexpr uint64_t kCode = 0x1000;
    static constexpr uint64_t kStack = 0x7000;  ///< grows down from here
    static constexpr uint64_t kMemory = uint64_t{2} << 20;

    explicit TinyMachine(uint32_t cpus = 1) {
        vm.map_memory(memory);
        arch::prepare_vm(vm);
        for (uint32_t index = 0; index < cpus; ++index) {
            vcpus.emplace_back(vm, index);
            arch::prepare_vcpu(kvm, vcpus.back(), cpus);
        }
        const auto gdt = boot::x86::descriptor_table(boot::x86::EntryState::Mode::protected_mode);
        put(kGdt, gdt);
        kvm_sregs system{};
        kvm_regs general{};
        vcpus.front().request(KVM_GET_SREGS, &system, "KVM_GET_SREGS");
        arch::set_entry_registers({.mode = boot::x86::EntryState::Mode::protected_mode,
                                   .instruction_pointer = kCode,
                                   .stack_pointer = kStack,
                                   .gdt = kGdt,
                                   .gdt_limit = static_cast<uint16_t>(gdt.size() - 1)},
                                  system, general);
        vcpus.front().request(KVM_SET_SREGS, &system, "KVM_SET_SREGS");
        vcpus.front().request(KVM_SET_REGS, &general, "KVM_SET_REGS");
    }

    void put(uint64_t address, std::span<const std::byte> bytes) {
        if (!memory.write_bytes(GuestAddress{address}, bytes)) {
            throw std::logic_error{"the guest has no memory there"};
        }
    }
    /// 32-bit code for the first vCPU, flat and without paging.
    void load(std::span<const std::byte> code) { put(kCode, code); }

    /// Runs the first vCPU up to an exit that means something.
    VcpuExit run() {
        VcpuExit exit = vcpus.front().run();
        while (std::holds_alternative<vcpu_exit::Interrupted>(exit)) {
            exit = vcpus.front().run();
        }
        return exit;
    }

    Kvm kvm;
    GuestMemory memory{std::array{GuestRange::of(0, kMemory)}, Mapping::Pages::transparent};
    Vm vm{kvm};
    std::vector<Vcpu> vcpus;

  private:
    static constexpr uint64_t kGdt = 0x500;
};

}  // namespace hull::test
