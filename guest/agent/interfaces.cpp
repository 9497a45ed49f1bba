#include "guest/agent/interfaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hull::agent {

namespace {

bool is_for_later(ssize_t result) {
    return result < 0 && (errno == EAGAIN || errno == EINTR);
}

/// Of the agent's own: a container's cannot be written to.
constexpr const char* kSys = "/y";

}  // namespace

int make_interface(const char* name, const uint8_t* mac) {
    ifreq request{};
    if (strlen(name) >= sizeof request.ifr_name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    const int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap < 0) {
        return -1;
    }
    bool is_made = ioctl(tap, TUNSETIFF, &request) == 0;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, mac, kMacSize);
    is_made = is_made && ioctl(tap, SIOCSIFHWADDR, &request) == 0;
    if (!is_made) {
        const int error = errno;
        close(tap);
        errno = error;
        return -1;
    }
    return tap;
}

Failure take_interface_away(const char* name) {
    if (strchr(name, '/') != nullptr) {
        return {EINVAL, "to find a network interface"};
    }
    mkdir(kSys, 0700);
    char path[512];
    char device[256];
    snprintf(path, sizeof path, "%s/class/net/%s/device", kSys, name);
    constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    ssize_t size = readlink(path, device, sizeof device - 1);
    // It is one with the container's, which was mounted to be read only; that mount stays so.
    if (size < 0 && mount("sysfs", kSys, "sysfs", kFlags, nullptr) == 0 &&
        mount("sysfs", kSys, nullptr, MS_REMOUNT | kFlags, nullptr) == 0) {
        size = readlink(path, device, sizeof device - 1);
    }
    if (size < 0) {
        return {errno, "to find a network interface"};
    }
    device[size] = '\0';
    const char* const slash = strrchr(device, '/');
    const char* const plain = slash == nullptr ? device : slash + 1;
    strncat(path, "/driver/unbind", sizeof path - strlen(path) - 1);
    const int file = open(path, O_WRONLY | O_CLOEXEC);
    const bool is_done =
        file >= 0 && write(file, plain, strlen(plain)) == static_cast<ssize_t>(strlen(plain));
    const Failure result = is_done ? Failure{} : Failure{errno, "to take a network interface away"};
    close(file);
    return result;
}

size_t Interfaces::find_room() const {
    size_t place = 0;
    while (place < kMost && interfaces_[place].tap >= 0) {
        ++place;
    }
    return place;
}

void Interfaces::add(int tap, int connection) {
    Interface& made = interfaces_[find_room()];
    made.tap = tap;
    made.connection = connection;
    made.begin = made.end = made.have = 0;
}

void Interfaces::wants(pollfd* entries) const {
    for (size_t index = 0; index < kMost; ++index) {
        const Interface& each = interfaces_[index];
        const bool is_full = each.end > each.begin;
        entries[2 * index] = {is_full ? -1 : each.tap, POLLIN, 0};
        entries[2 * index + 1] = {each.tap < 0 ? -1 : each.connection,
                                  static_cast<short>(POLLIN | (is_full ? POLLOUT : 0)), 0};
    }
}

void Interfaces::serve(const pollfd* entries) {
    for (size_t index = 0; index < kMost; ++index) {
        Interface& each = interfaces_[index];
        const short of_tap = entries[2 * index].revents;
        const short of_connection = entries[2 * index + 1].revents;
        if (of_tap != 0 && each.tap >= 0) {
            take_frames(each);
        }
        if ((of_connection & POLLOUT) != 0 && each.tap >= 0) {
            send_waiting(each);
        }
        if ((of_connection & ~POLLOUT) != 0 && each.tap >= 0) {
            take_from_host(each);
        }
    }
}

/// As many as the connection takes, but not for ever: others are to be served, too.
void Interfaces::take_frames(Interface& interface) {
    constexpr int kMostAtOnce = 64;
    for (int count = 0; count < kMostAtOnce && interface.end == interface.begin; ++count) {
        const ssize_t got = read(interface.tap, interface.to_host + kLength, kMostFrame + 1);
        if (got <= 0) {
            return;
        }
        if (static_cast<size_t>(got) > kMostFrame) {
            continue;
        }
        interface.to_host[0] = static_cast<uint8_t>(got >> 8);
        interface.to_host[1] = static_cast<uint8_t>(got);
        interface.begin = 0;
        interface.end = kLength + static_cast<size_t>(got);
        send_waiting(interface);
        if (interface.tap < 0) {
            return;
        }
    }
}

void Interfaces::send_waiting(Interface& interface) {
    while (interface.begin < interface.end) {
        const ssize_t sent = send(interface.connection, interface.to_host + interface.begin,
                                  interface.end - interface.begin, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (is_for_later(sent)) {
            return;
        }
        if (sent < 0) {
            end(interface);
            return;
        }
        interface.begin += static_cast<size_t>(sent);
    }
}

void Interfaces::take_from_host(Interface& interface) {
    const ssize_t got = recv(interface.connection, interface.from_host + interface.have,
                             sizeof interface.from_host - interface.have, MSG_DONTWAIT);
    if (is_for_later(got)) {
        return;
    }
    if (got <= 0) {
        end(interface);
        return;
    }
    interface.have += static_cast<size_t>(got);
    size_t at = 0;
    while (interface.have - at >= kLength) {
        const uint8_t* const frame = interface.from_host + at;
        const size_t size = static_cast<size_t>(frame[0]) << 8 | frame[1];
        if (size > kMostFrame) {
            end(interface);
            return;
        }
        if (interface.have - at < kLength + size) {
            break;
        }
        // What the interface does not take, since it is not up, say, is lost.
        [[maybe_unused]] const ssize_t put = write(interface.tap, frame + kLength, size);
        at += kLength + size;
    }
    memmove(interface.from_host, interface.from_host + at, interface.have - at);
    interface.have -= at;
}

void Interfaces::end(Interface& interface) {
    close(interface.tap);
    close(interface.connection);
    interface.tap = interface.connection = -1;
    interface.begin = interface.end = 0;
}

}  // namespace hull::agent
