// What a command in a guest is given where its user says nothing else.
#pragma once

#include <linux/capability.h>

#include <cstdint>
#include <initializer_list>

namespace hull {

/// What a program that is root in a container has by default, as Docker has it, and no more: nothing of it
/// configures the guest's kernel or reaches its devices. Bit N is capability N (capabilities(7)).
inline constexpr uint64_t kDefaultCapabilities = [] {
    uint64_t all = 0;
    for (const unsigned each :
         {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP,
          CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_CHROOT, CAP_MKNOD, CAP_AUDIT_WRITE, CAP_SETFCAP}) {
        all |= uint64_t{1} << each;
    }
    return all;
}();

/// Who is where in the user network (devices/net/user/user_network.h): 10.0.2.15 is 0x0a00020f.
namespace user_network {
inline constexpr uint32_t kGuest = 0x0a00'020f;
inline constexpr const char* kGuestText = "10.0.2.15";
inline constexpr uint32_t kGateway = 0x0a00'0202;
inline constexpr const char* kGatewayText = "10.0.2.2";
inline constexpr uint32_t kPrefix = 24;
inline constexpr const char* kNameServerText = "10.0.2.3";
}  // namespace user_network

}  // namespace hull
