// Requests whose numbers Linux's header gets wrong in C++ (sized_request()).
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmm/kvm/counted_list.h"

namespace hull::arch {

/// A list of 32-bit words: a count, and then so many numbers of registers (4.3).
constexpr unsigned long kGetMsrIndexList = sized_request(KVM_GET_MSR_INDEX_LIST, sizeof(uint32_t));

/// The XSAVE area, without what a process has to ask for first (4.42, 4.43).
using XsaveArea = std::array<std::byte, 4096>;
constexpr unsigned long kGetXsave = sized_request(KVM_GET_XSAVE, sizeof(XsaveArea));
constexpr unsigned long kSetXsave = sized_request(KVM_SET_XSAVE, sizeof(XsaveArea));

}  // namespace hull::arch
