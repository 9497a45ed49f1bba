// Requests whose numbers Linux's header gets wrong in C++.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hull::arch {

// A request's number has the size of its structure in it. These structures end with a flexible array, before
// which some versions of the header put an empty structure, which has a size in C++ (vmm/kvm/counted_list.h).
constexpr unsigned long sized_request(unsigned long number, size_t size) {
    return _IOC(_IOC_DIR(number), _IOC_TYPE(number), _IOC_NR(number), size);
}

/// A list of 32-bit words: a count, and then so many numbers of registers (4.3).
constexpr unsigned long kGetMsrIndexList = sized_request(KVM_GET_MSR_INDEX_LIST, sizeof(uint32_t));

/// The XSAVE area, without what a process has to ask for first (4.42, 4.43).
using XsaveArea = std::array<std::byte, 4096>;
constexpr unsigned long kGetXsave = sized_request(KVM_GET_XSAVE, sizeof(XsaveArea));
constexpr unsigned long kSetXsave = sized_request(KVM_SET_XSAVE, sizeof(XsaveArea));

}  // namespace hull::arch
