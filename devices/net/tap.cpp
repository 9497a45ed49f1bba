#include "devices/net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "devices/net/layout.h"
#include "devices/virtio/queue.h"

namespace hull::virtio {

namespace {

/// Tries to take one queue of the device; answers errno, zero for success.
int take_queue(int fd, const std::string& name, bool one_of_several) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags =
        static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (one_of_several ? IFF_MULTI_QUEUE : 0));
    return ioctl(fd, TUNSETIFF, &request) == 0 ? 0 : errno;
}

UniqueFd open_queue(const std::string& name, bool one_of_several, const std::string& tried) {
    UniqueFd fd{open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    if (!fd.valid()) {
        throw Error{ExitStatus::bad_file, tried, "/dev/net/tun: " + errno_text(errno),
                    errno == ENOENT ? "load the module tun (modprobe tun)" : "let this user open it"};
    }
    int error = take_queue(fd.get(), name, one_of_several);
    if (error == EINVAL && !one_of_several) {
        error = take_queue(fd.get(), name, true);  // made for several, of which one will do
    }
    if (error != 0) {
        const char* advice = error == EBUSY    ? "end the program that uses it"
                             : error == EPERM  ? "give it to this user (ip tuntap add … user NAME)"
                             : error == E2BIG  ? "give fewer queues"
                             : error != EINVAL ? ""
                             : one_of_several  ? "is it a tap device, made with multi_queue?"
                                               : "is it a tap device?";
        throw Error{ExitStatus::bad_file, tried, errno_text(error), advice};
    }
    const int header_size = sizeof(virtio_net_hdr_v1);
    if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header_size) != 0) {
        throw Error{ExitStatus::bad_file, tried, "TUNSETVNETHDRSZ: " + errno_text(errno)};
    }
    return fd;
}

}  // namespace

std::vector<UniqueFd> open_tap(const std::string& name, uint32_t queues) {
    const std::string tried = "cannot use the tap device '" + name + "'";
    // The host would make one of this name, but nobody would have connected it to anything.
    if (name.size() >= IFNAMSIZ || if_nametoindex(name.c_str()) == 0) {
        throw Error{ExitStatus::bad_file, tried, "the host has no network interface of this name",
                    "make it, for example with: ip tuntap add dev " + name + " mode tap user $USER"};
    }
    std::vector<UniqueFd> fds;
    while (fds.size() < queues) {
        fds.push_back(open_queue(name, queues > 1, tried));
    }
    return fds;
}

uint16_t interface_mtu(const std::string& name) {
    const UniqueFd any_socket{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    if (ioctl(any_socket.get(), SIOCGIFMTU, &request) != 0) {
        return 0;
    }
    return static_cast<uint16_t>(std::clamp(request.ifr_mtu, 0, 65535));
}

bool attach_tap_queue(int fd, bool attach) {
    ifreq request{};
    request.ifr_flags = static_cast<short>(attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
    return ioctl(fd, TUNSETQUEUE, &request) == 0;
}

bool set_tap_offloads(int fd, uint64_t features) {
    unsigned long offloads = 0;
    const auto add = [&](unsigned bit, unsigned long offload) {
        offloads |= (features & feature(bit)) != 0 ? offload : 0;
    };
    add(VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM);
    if (offloads != 0) {  // nothing else goes without it
        add(VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4);
        add(VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6);
        add(VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN);
    }
    return ioctl(fd, TUNSETOFFLOAD, offloads) == 0;
}

}  // namespace hull::virtio
