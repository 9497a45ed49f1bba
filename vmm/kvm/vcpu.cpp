#include "vmm/kvm/vcpu.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <iomanip>
#include <sstream>

namespace hull {

namespace {

std::string hex(uint64_t value) {
    std::ostringstream text;
    text << "0x" << std::hex << value;
    return text.str();
}

}  // namespace

Vcpu::Vcpu(Vm& vm, uint32_t index)
    : index_{index},
      fd_{vm.request(KVM_CREATE_VCPU, static_cast<unsigned long>(index), "KVM_CREATE_VCPU")},
      run_area_{Mapping::shared(fd_.get(), vm.kvm().run_area_size(), "a vCPU's run area")},
      run_{reinterpret_cast<kvm_run*>(run_area_.data())} {}

VcpuExit Vcpu::run() {
    if (ioctl(fd_.get(), KVM_RUN, 0) < 0) {
        if (errno == EINTR || errno == EAGAIN) {
            return vcpu_exit::Interrupted{};
        }
        return vcpu_exit::Failure{"KVM_RUN: " + errno_text(errno)};
    }
    return decode_exit();
}

VcpuExit Vcpu::decode_exit() {
    switch (run_->exit_reason) {
        case KVM_EXIT_IO:
            return decode_port_access();
        case KVM_EXIT_MMIO: {
            auto* data = reinterpret_cast<std::byte*>(run_->mmio.data);
            const size_t length =
                run_->mmio.len <= sizeof run_->mmio.data ? run_->mmio.len : sizeof run_->mmio.data;
            const GuestAddress address{run_->mmio.phys_addr};
            if (run_->mmio.is_write != 0) {
                return vcpu_exit::MemoryWrite{address, {data, length}};
            }
            return vcpu_exit::MemoryRead{address, {data, length}};
        }
        case KVM_EXIT_INTR:
            return vcpu_exit::Interrupted{};
        case KVM_EXIT_SHUTDOWN:
            return vcpu_exit::Shutdown{};
        case KVM_EXIT_SYSTEM_EVENT:
            return vcpu_exit::SystemEvent{run_->system_event.type};
        case KVM_EXIT_FAIL_ENTRY:
            return vcpu_exit::Failure{"the processor refused the guest's state (hardware reason " +
                                      hex(run_->fail_entry.hardware_entry_failure_reason) + ")"};
        case KVM_EXIT_INTERNAL_ERROR:
            return vcpu_exit::Failure{"KVM could not emulate an instruction or deliver an event (suberror " +
                                      std::to_string(run_->internal.suberror) + ")"};
        default:
            return vcpu_exit::Failure{"an exit that is not known here (reason " +
                                      std::to_string(run_->exit_reason) + ")"};
    }
}

VcpuExit Vcpu::decode_port_access() {
    auto* data = reinterpret_cast<std::byte*>(run_) + run_->io.data_offset;
    const std::span<std::byte> bytes{data, size_t{run_->io.size} * run_->io.count};
    if (run_->io.direction == KVM_EXIT_IO_OUT) {
        return vcpu_exit::PortWrite{run_->io.port, bytes, run_->io.count};
    }
    return vcpu_exit::PortRead{run_->io.port, bytes, run_->io.count};
}

void Vcpu::request_exit() {
    // Read by the kernel at the start of KVM_RUN; an atomic store since another thread may be about to call
    // it.
    __atomic_store_n(&run_->immediate_exit, uint8_t{1}, __ATOMIC_RELEASE);
}

void Vcpu::withdraw_exit_request() {
    __atomic_store_n(&run_->immediate_exit, uint8_t{0}, __ATOMIC_RELEASE);
}

bool Vcpu::try_request(unsigned long number, const void* argument) {
    return ioctl(fd_.get(), number, argument) >= 0;
}

int Vcpu::request(unsigned long number, const void* argument, const char* request_name) {
    const int result = ioctl(fd_.get(), number, argument);
    if (result < 0) {
        throw Error{ExitStatus::host_unfit,
                    std::string{"KVM refused "} + request_name + " for vCPU " + std::to_string(index_),
                    errno_text(errno), "see what 'hull check' says"};
    }
    return result;
}

}  // namespace hull
