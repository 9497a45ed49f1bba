// Leads a port of an address to another one, for some of the guest's processes.
#pragma once

#include <stdint.h>

namespace hull::agent {

/// Who is in the control group in this folder (cgroup-v2) and connects or sends to port `from` of `address`
/// (IPv4) reaches its port `to`, and takes what comes from there for that of `from`. Others may have the
/// port, and so may they themselves. Only in the guest's first network namespace; for ever. False with errno
/// where it cannot.
bool redirect(const char* group, uint32_t address, uint16_t from, uint16_t to);

}  // namespace hull::agent
