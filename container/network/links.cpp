#include "container/network/links.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace hull::container {

namespace {

/// Questions about one interface, and orders (netdevice(7)).
class Interface {
  public:
    explicit Interface(const std::string& name) { name.copy(request.ifr_name, IFNAMSIZ - 1); }

    bool do_this(unsigned long what) { return ioctl(socket_.get(), what, &request) == 0; }
    bool set_address(unsigned long what, uint32_t value) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(value);
        memcpy(&request.ifr_addr, &address, sizeof address);
        return do_this(what);
    }
    std::optional<uint32_t> address(unsigned long what) {
        sockaddr_in address{};
        if (!do_this(what)) {
            return std::nullopt;
        }
        memcpy(&address, &request.ifr_addr, sizeof address);
        return ntohl(address.sin_addr.s_addr);
    }
    bool bring(bool is_up) {
        if (!do_this(SIOCGIFFLAGS)) {
            return false;
        }
        request.ifr_flags =
            static_cast<short>(is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
        return do_this(SIOCSIFFLAGS);
    }
    /// So that it does not change with what is attached to it: guests remember it.
    bool set_bridge_mac(uint32_t address) {
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        const std::array<uint8_t, 2> first{0x02, 0x42};
        const uint32_t rest = htonl(address);
        memcpy(request.ifr_hwaddr.sa_data, first.data(), first.size());
        memcpy(request.ifr_hwaddr.sa_data + first.size(), &rest, sizeof rest);
        return do_this(SIOCSIFHWADDR);
    }
    int order_bridge(unsigned long what) {
        return ioctl(socket_.get(), what, request.ifr_name) == 0 ? 0 : errno;
    }

    ifreq request{};

  private:
    UniqueFd socket_{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
};

Error failure(const std::string& tried, const std::string& what) {
    return Error{ExitStatus::no_resources, tried, what + ": " + errno_text(errno)};
}

}  // namespace

std::optional<Subnet> subnet_of(const std::string& interface) {
    Interface asked{interface};
    const auto address = asked.address(SIOCGIFADDR);
    const auto mask = asked.address(SIOCGIFNETMASK);
    if (!address || !mask || *mask == 0) {
        return std::nullopt;
    }
    return Subnet{*address & *mask, static_cast<uint32_t>(std::popcount(*mask))};
}

void make_bridge(const std::string& name, const Subnet& subnet, uint32_t address) {
    const std::string tried = "cannot make the bridge '" + name + "'";
    Interface bridge{name};
    const int cause = bridge.order_bridge(SIOCBRADDBR);
    if (cause != 0 && cause != EEXIST) {
        const bool has_none = cause == ENOPKG;
        throw Error{ExitStatus::no_resources, tried,
                    has_none ? "the host's kernel has no bridges" : errno_text(cause),
                    has_none ? "load the module bridge (modprobe bridge)" : ""};
    }
    if (!bridge.set_bridge_mac(address) || !bridge.set_address(SIOCSIFADDR, address) ||
        !bridge.set_address(SIOCSIFNETMASK, subnet.mask()) || !bridge.bring(true)) {
        throw failure(tried, "its address " + address_text(address));
    }
}

bool has_ports(const std::string& bridge) {
    std::error_code error;
    const std::filesystem::directory_iterator ports{"/sys/class/net/" + bridge + "/brif", error};
    return !error && ports != std::filesystem::directory_iterator{};
}

bool remove_bridge(const std::string& name) {
    Interface bridge{name};
    bridge.bring(false);
    const int cause = bridge.order_bridge(SIOCBRDELBR);
    return cause == 0 || cause == ENXIO;
}

namespace {

/// All queues of a device have what the first one has.
UniqueFd open_queue(const std::string& tap, int open_flags, const std::string& tried) {
    UniqueFd fd{open("/dev/net/tun", O_RDWR | O_CLOEXEC | open_flags)};
    if (!fd.valid()) {
        throw failure(tried, "/dev/net/tun");
    }
    ifreq request{};
    tap.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
    if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
        throw failure(tried, "TUNSETIFF");
    }
    return fd;
}

}  // namespace

UniqueFd make_tap(const std::string& name) {
    const std::string tried = "cannot make the tap device '" + name + "'";
    UniqueFd fd = open_queue(name, 0, tried);
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    // This queue keeps the device there, and takes no part: the machine's is to be the only one that gets
    // frames.
    request.ifr_flags = IFF_DETACH_QUEUE;
    if (ioctl(fd.get(), TUNSETQUEUE, &request) != 0) {
        throw failure(tried, "TUNSETQUEUE");
    }
    return fd;
}

UniqueFd open_tap(const std::string& name) {
    return open_queue(name, O_NONBLOCK, "cannot use the tap device '" + name + "'");
}

void join_bridge(const std::string& interface, const std::string& bridge) {
    const std::string tried = "cannot attach '" + interface + "' to the bridge '" + bridge + "'";
    Interface order{bridge};
    order.request.ifr_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (!order.do_this(SIOCBRADDIF)) {
        throw failure(tried, "SIOCBRADDIF");
    }
    if (!Interface{interface}.bring(true)) {
        throw failure(tried, "to bring it up");
    }
}

void leave_bridge(const std::string& interface, const std::string& bridge) {
    Interface order{bridge};
    order.request.ifr_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    order.do_this(SIOCBRDELIF);
    Interface{interface}.bring(false);
}

}  // namespace hull::container
