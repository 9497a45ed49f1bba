#include "vmm/kvm/vm.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <string>

#include "base/log.h"

namespace hull {

Vm::Vm(const Kvm& kvm) : kvm_{kvm} {
    int fd = -1;
    do {
        fd = ioctl(kvm.fd(), KVM_CREATE_VM, 0UL);
    } while (fd < 0 && errno == EINTR);
    fd_ = UniqueFd{fd};
    if (!fd_.valid()) {
        throw Error{ExitStatus::host_unfit, "cannot make a virtual machine (KVM_CREATE_VM)",
                    errno_text(errno),
                    errno == EBUSY ? "another hypervisor uses the processor's virtualization; end it"
                                   : "see what 'hull check' says"};
    }
    holder_ = IoRing::make(1, {&fd, 1});
}

int Vm::request(unsigned long number, unsigned long argument, const char* request_name) {
    const int result = ioctl(fd_.get(), number, argument);
    if (result < 0) {
        throw Error{ExitStatus::host_unfit, std::string{"KVM refused "} + request_name, errno_text(errno),
                    "see what 'hull check' says"};
    }
    return result;
}

int Vm::request(unsigned long number, const void* argument, const char* request_name) {
    return request(number, reinterpret_cast<unsigned long>(argument), request_name);
}

void Vm::map_memory(const GuestMemory& memory) {
    uint32_t slot = 0;
    for (const GuestMemory::Region& region : memory.regions()) {
        kvm_userspace_memory_region request_data{};
        request_data.slot = slot++;
        request_data.guest_phys_addr = raw(region.range.start());
        request_data.memory_size = region.range.size();
        request_data.userspace_addr = reinterpret_cast<uint64_t>(region.mapping.data());
        request(KVM_SET_USER_MEMORY_REGION, &request_data, "KVM_SET_USER_MEMORY_REGION");
    }
}

void Vm::connect_irqfd(uint32_t gsi, int eventfd) {
    kvm_irqfd request_data{};
    request_data.fd = static_cast<uint32_t>(eventfd);
    request_data.gsi = gsi;
    request(KVM_IRQFD, &request_data, "KVM_IRQFD");
}

void Vm::connect_ioeventfd(GuestAddress address, uint32_t value, int eventfd) {
    kvm_ioeventfd request_data{};
    request_data.datamatch = value;
    request_data.addr = raw(address);
    request_data.len = sizeof value;
    request_data.fd = eventfd;
    request_data.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
    request(KVM_IOEVENTFD, &request_data, "KVM_IOEVENTFD");
}

Doorbell::Doorbell(Vm& vm, GuestAddress address, int eventfd)
    : vm_{vm}, address_{address}, eventfd_{eventfd} {
    request(0);
}

Doorbell::~Doorbell() {
    try {
        request(KVM_IOEVENTFD_FLAG_DEASSIGN);
    } catch (const Error& error) {
        log_warning(std::string{"a doorbell stays where it is: "} + error.what());
    }
}

void Doorbell::request(uint32_t flags) {
    kvm_ioeventfd request_data{};
    request_data.addr = raw(address_);
    request_data.len = vm_.kvm().capability(KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0 ? 0 : sizeof(uint16_t);
    request_data.fd = eventfd_;
    request_data.flags = flags;
    vm_.request(KVM_IOEVENTFD, &request_data, "KVM_IOEVENTFD");
}

void PinIrqLine::trigger() {
    const std::lock_guard lock{mutex_};
    for (const uint32_t level : {1U, 0U}) {
        kvm_irq_level request_data{};
        request_data.irq = line_;
        request_data.level = level;
        // Only a pin that is not there is refused, and then the guest waits for nobody but itself.
        ioctl(vm_.fd(), KVM_IRQ_LINE, &request_data);
    }
}

}  // namespace hull
