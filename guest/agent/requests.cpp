#include "guest/agent/requests.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/agent/interfaces.h"
#include "guest/agent/volume.h"

namespace hull::agent {

namespace {

constexpr mode_t kFolderMode = 0755;

/// Which fields a request has.
struct Form {
    uint32_t type;
    uint32_t needed;    // a bit for each tag
    uint32_t optional;  // likewise
};

constexpr uint32_t bit(Tag tag) {
    return uint32_t{1} << tag;
}

constexpr Form kForms[] = {
    {kFolder, bit(kPath), bit(kMode) | bit(kRoot)},
    {kFile, bit(kPath) | bit(kContent), bit(kMode) | bit(kRoot)},
    {kMount, bit(kSource) | bit(kPath) | bit(kKind) | bit(kFlags), bit(kOptions) | bit(kRoot)},
    {kAddress, bit(kSource) | bit(kIp) | bit(kPrefix), bit(kGateway)},
    {kSignal, bit(kValue), 0},
    {kResize, bit(kRows) | bit(kColumns), 0},
    {kSendTree, bit(kPath), 0},
    {kRelay, bit(kIp) | bit(kPortNumber), 0},
    {kRelayPort, bit(kIp) | bit(kPortNumber), bit(kGroup)},
    {kPlug, bit(kSource) | bit(kContent), 0},
    {kUnplug, bit(kSource), 0},
    {kNode, bit(kPath) | bit(kMode) | bit(kDevice), bit(kRoot)},
    {kLink, bit(kPath) | bit(kTarget), bit(kRoot)},
    {kRead, bit(kPath), 0},
    {kRelaySocket, bit(kPath) | bit(kMode), 0},
    {kBind, bit(kSource) | bit(kPath) | bit(kRoot) | bit(kFlags), 0},
    {kCopyUp, bit(kSource) | bit(kPath) | bit(kRoot), 0},
    {kLook, bit(kPath) | bit(kRoot), 0},
    {kPack, bit(kPath) | bit(kRoot), bit(kFlags)},
    {kUnpack, bit(kPath) | bit(kRoot) | bit(kFlags), bit(kUser)},
    {kCompare, bit(kPath) | bit(kSource), 0},
};

bool take_number(const Field& field, uint64_t least, uint64_t most, uint64_t& value) {
    return field.number(value) && value >= least && value <= most;
}

bool take_text(const Field& field, const char*& text) {
    text = field.text();
    return text != nullptr;
}

constexpr Failure kDone{};

Failure failed(const char* what) {
    return {errno, what};
}

Failure make_folder(const Request& asked) {
    if (!make_folders(asked.path) ||
        (asked.has_mode && chmod(asked.path, static_cast<mode_t>(asked.mode)) != 0)) {
        return failed("to make a folder");
    }
    return kDone;
}

Failure write_file(const Request& asked) {
    if (asked.has_mode) {
        // Not into what a link of that name leads to.
        unlink(asked.path);
    }
    const int fd = open(asked.path, O_WRONLY | O_CLOEXEC | (asked.has_mode ? O_CREAT | O_EXCL : 0),
                        static_cast<mode_t>(asked.mode));
    if (fd < 0) {
        return failed("to make a file");
    }
    const bool written =
        write(fd, asked.content.bytes, asked.content.size) == static_cast<ssize_t>(asked.content.size);
    const Failure result = written ? kDone : failed("to write a file");
    close(fd);
    return result;
}

Failure do_mount(const Request& asked) {
    if (!make_folders(asked.path)) {
        return failed("to make a folder to mount at");
    }
    return mount(asked.source, asked.path, asked.kind, asked.flags, asked.options) == 0 ? kDone
                                                                                        : failed("to mount");
}

Failure make_node(const Request& asked) {
    const auto mode = static_cast<mode_t>(asked.mode);
    // chmod(2), since the agent's umask is not for what the host asks for.
    return mknod(asked.path, mode, static_cast<dev_t>(asked.device)) == 0 && chmod(asked.path, mode) == 0
               ? kDone
               : failed("to make a device node");
}

/// For ioctls on interfaces (netdevice(7)).
struct Interface {
    explicit Interface(const char* name) : fd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    }
    ~Interface() { close(fd); }
    Interface(const Interface&) = delete;
    Interface& operator=(const Interface&) = delete;
    bool set_address(unsigned long what, uint64_t value) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(static_cast<uint32_t>(value));
        memcpy(&request.ifr_addr, &address, sizeof address);
        return ioctl(fd, static_cast<int>(what), &request) == 0;
    }
    bool bring_up() {
        request.ifr_flags = IFF_UP | IFF_RUNNING;
        return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    }
    bool route_all_to(uint64_t gateway) const {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        rtentry route{};
        memcpy(&route.rt_dst, &address, sizeof address);
        memcpy(&route.rt_genmask, &address, sizeof address);
        address.sin_addr.s_addr = htonl(static_cast<uint32_t>(gateway));
        memcpy(&route.rt_gateway, &address, sizeof address);
        route.rt_flags = RTF_UP | RTF_GATEWAY;
        return ioctl(fd, SIOCADDRT, &route) == 0;
    }
    int fd;
    ifreq request{};
};

Failure set_address(const Request& asked) {
    Interface interface { asked.source };
    const uint64_t mask = UINT32_MAX & ~(uint64_t{UINT32_MAX} >> asked.prefix);
    if (!interface.set_address(SIOCSIFADDR, asked.address) || !interface.set_address(SIOCSIFNETMASK, mask) ||
        !interface.bring_up()) {
        return failed("to set up the network");
    }
    if (asked.gateway != 0 && !interface.route_all_to(asked.gateway)) {
        return failed("to set a route");
    }
    return kDone;
}

}  // namespace

bool make_folders(const char* path) {
    char part[4096];
    const size_t length = strlen(path);
    if (length >= sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (size_t end = 1; end <= length; ++end) {
        if (path[end] != '/' && path[end] != '\0') {
            continue;
        }
        memcpy(part, path, end);
        part[end] = '\0';
        if (mkdir(part, kFolderMode) != 0 && errno != EEXIST) {
            return false;
        }
    }
    return true;
}

bool Request::take(const Field& field) {
    constexpr uint64_t kMostMode = 07777 | S_IFMT;
    constexpr uint64_t kMostSignal = 64;
    switch (field.tag) {
        case kPath:
            return take_text(field, path);
        case kSource:
            return take_text(field, source);
        case kKind:
            return take_text(field, kind);
        case kOptions:
            return take_text(field, options);
        case kTarget:
            return take_text(field, target);
        case kRoot:
            return take_text(field, root);
        case kUser:
            return take_text(field, user);
        case kGroup:
            return take_text(field, group);
        case kContent:
            content = field;
            return true;
        case kMode:
            has_mode = true;
            return take_number(field, 0, kMostMode, mode);
        case kDevice:
            return take_number(field, 0, UINT64_MAX, device);
        case kFlags:
            return take_number(field, 0, UINT64_MAX, flags);
        case kIp:
            return take_number(field, 0, UINT32_MAX, address);
        case kPrefix:
            return take_number(field, 0, 32, prefix);
        case kGateway:
            return take_number(field, 0, UINT32_MAX, gateway);
        case kPortNumber:
            return take_number(field, 1, UINT16_MAX, port);
        case kRows:
            return take_number(field, 0, UINT16_MAX, rows);
        case kColumns:
            return take_number(field, 0, UINT16_MAX, columns);
        case kValue:
            return take_number(field, 1, kMostSignal, signal);
        default:
            return false;
    }
}

bool Request::parse(const Frame& frame) {
    const Form* form = nullptr;
    for (const Form& each : kForms) {
        form = each.type == frame.type ? &each : form;
    }
    if (form == nullptr) {
        return false;
    }
    uint32_t seen = 0;
    FieldReader fields{frame};
    for (Field field; fields.next(field);) {
        if (!take(field)) {
            return false;
        }
        const uint32_t tag = bit(static_cast<Tag>(field.tag));  // none of which is above 31
        if (((form->needed | form->optional) & tag & ~seen) == 0) {
            return false;
        }
        seen |= tag;
    }
    const uint64_t node = mode & S_IFMT;
    const bool has_its_kind = frame.type == kNode ? node == S_IFCHR || node == S_IFBLK : node == 0;
    return !fields.is_bad() && has_its_kind && (seen & form->needed) == form->needed;
}

namespace {

Failure perform_here(uint32_t type, const Request& asked) {
    switch (type) {
        case kFolder:
            return make_folder(asked);
        case kFile:
            return write_file(asked);
        case kMount:
            return do_mount(asked);
        case kNode:
            return make_node(asked);
        case kUnplug:
            return take_interface_away(asked.source);
        case kLink:
            return symlink(asked.target, asked.path) == 0 ? kDone : failed("to make a link");
        default:
            return set_address(asked);
    }
}

}  // namespace

Failure perform(uint32_t type, const Request& asked) {
    if (type == kBind) {
        return bind_into(asked);
    }
    if (type == kCopyUp) {
        return copy_up(asked);
    }
    if (asked.root == nullptr) {
        return perform_here(type, asked);
    }
    // So that no link in there leads out, whatever it says.
    const int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (outside < 0 || chdir(asked.root) != 0 || chroot(".") != 0) {
        const Failure result = failed("to enter a root folder");
        close(outside);
        return result;
    }
    const Failure result = perform_here(type, asked);
    [[maybe_unused]] const bool is_back = fchdir(outside) == 0 && chroot(".") == 0;
    close(outside);
    return result;
}

}  // namespace hull::agent
