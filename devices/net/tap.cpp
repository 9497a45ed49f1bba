#include "devices/net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/error.h"
#include "devices/net/layout.h"
#include "devices/virtio/queue.h"

namespace hull::virtio {

UniqueFd open_tap(const std::string& name) {
    const std::string tried = "cannot use the tap device '" + name + "'";
    // The host would make one of this name, but nobody would have connected it to anything.
    if (name.size() >= IFNAMSIZ || if_nametoindex(name.c_str()) == 0) {
        throw Error{ExitStatus::bad_file, tried, "the host has no network interface of this name",
                    "make it, for example with: ip tuntap add dev " + name + " mode tap user $USER"};
    }
    UniqueFd fd{open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    if (!fd.valid()) {
        throw Error{ExitStatus::bad_file, tried, "/dev/net/tun: " + errno_text(errno),
                    errno == ENOENT ? "load the module tun (modprobe tun)" : "let this user open it"};
    }
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
        const int error = errno;
        const char* advice = error == EBUSY   ? "end the program that uses it"
                             : error == EPERM ? "give it to this user (ip tuntap add … user NAME)"
                             : error == EINVAL
                                 ? "it is no tap device, or one for several queues (multi_queue)"
                                 : "";
        throw Error{ExitStatus::bad_file, tried, errno_text(error), advice};
    }
    const int header_size = sizeof(virtio_net_hdr_v1);
    if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header_size) != 0) {
        throw Error{ExitStatus::bad_file, tried, "TUNSETVNETHDRSZ: " + errno_text(errno)};
    }
    return fd;
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
