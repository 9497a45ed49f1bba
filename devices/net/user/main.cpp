// hull-user-net [--restrict] [--host-loopback] --mtu=N [--forward=HOSTIP:PORT:GUESTPORT[/udp]]…
//               [--root=FOLDER] [--user=UID:GID] [--filter]
//
// The user network of a machine, in a process of its own: it takes a guest's frames apart. Started by the
// keeper alone (vmm/main/user_net.h), with the link to the machine as descriptor 3. Descriptor 4 is a pipe
// that it tells how it started: the byte of an ExitStatus, and behind it the line of an Error. Once its ports
// are open it locks itself in: FOLDER, a mount in a mount namespace of its own, is all the files that it
// sees, it becomes this user, and makes no system calls but those that it needs (--filter).
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "base/confinement.h"
#include "base/error.h"
#include "base/privileges.h"
#include "base/unique_fd.h"
#include "devices/net/user/user_network.h"

namespace {

using namespace hull;

struct Confinement {
    std::string root;  // empty: it keeps all files
    uid_t user = 0;    // 0: it stays whom it is
    gid_t group = 0;
    bool has_filter = false;
};

template <typename Number>
void parse_number(std::string_view text, Number& number) {
    std::from_chars(text.data(), text.data() + text.size(), number);
}

/// Throws Error (usage) for what the keeper does not give.
void parse(int count, char** words, virtio::UserNetworkSettings& settings, Confinement& confinement) {
    for (int index = 1; index < count; ++index) {
        const std::string_view word{words[index]};
        const std::string value{word.substr(std::min(word.find('=') + 1, word.size()))};
        if (word == "--restrict") {
            settings.restricted = true;
        } else if (word == "--host-loopback") {
            settings.host_loopback = true;
        } else if (word.starts_with("--mtu=")) {
            parse_number(value, settings.mtu);
        } else if (word.starts_with("--root=")) {
            confinement.root = value;
        } else if (word.starts_with("--user=")) {
            parse_number(value, confinement.user);
            parse_number(std::string_view{value}.substr(value.find(':') + 1), confinement.group);
        } else if (word == "--filter") {
            confinement.has_filter = true;
        } else if (const auto forward = virtio::PortForward::parse(value);
                   word.starts_with("--forward=") && forward) {
            settings.forwards.push_back(*forward);
        } else {
            throw Error{ExitStatus::usage, "cannot use '" + std::string{word} + "'", "it has no meaning",
                        "leave it to hull to start this program"};
        }
    }
}

// What libslirp comes to once the ports are open, by its sources and its C library's.
constexpr AllowedCall kCalls[] = {
    // The link, and waiting.
    {SYS_read},
    {SYS_write},
    {SYS_recvfrom},
    {SYS_sendto},
    {SYS_recvmsg},
    {SYS_sendmsg},
    {SYS_poll},
    {SYS_ppoll},
    {SYS_restart_syscall},
    {SYS_clock_gettime},
    // The guest's connections, which are the host's sockets of the internet and no others.
    {SYS_socket, 0, AF_INET},
    {SYS_socket, 0, AF_INET6},
    {SYS_bind},
    {SYS_connect},
    {SYS_listen},
    {SYS_accept},
    {SYS_accept4},
    {SYS_shutdown},
    {SYS_close},
    {SYS_getsockname},
    {SYS_getpeername},
    {SYS_getsockopt},
    {SYS_setsockopt},
    {SYS_fcntl},
    {SYS_ioctl, 1, FIONREAD},
    // The host's name servers, /etc/resolv.conf.
    {SYS_openat},
    {SYS_newfstatat},
    {SYS_fstat},
    {SYS_lseek},
    // Memory and locks.
    {SYS_brk},
    {SYS_mmap},
    {SYS_munmap},
    {SYS_mremap},
    {SYS_madvise},
    {SYS_futex},
    {SYS_getrandom},
    {SYS_exit_group},
};

void confine(const Confinement& confinement) {
    if (!confinement.root.empty()) {
        leave_for(confinement.root.c_str());
    }
    if (confinement.user != 0 && !become_user(confinement.user, confinement.group)) {
        throw Error{ExitStatus::jail_incomplete,
                    "the user network cannot become user " + std::to_string(confinement.user),
                    errno_text(errno),
                    "give another one (--jail-user), or let it stay root (--jail-without user)"};
    }
    give_up_rights(0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    // The change of user took it back. Where the keeper is gone by now the link is closed, which ends this,
    // too.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (confinement.has_filter) {
        allow_only(kCalls);
    }
}

void tell(int fd, ExitStatus status, std::string_view line) {
    std::string report(1, static_cast<char>(status));
    report += line;
    [[maybe_unused]] const ssize_t written = write(fd, report.data(), report.size());
}

}  // namespace

int main(int argc, char** argv) {
    // libslirp sends to sockets whose other side may have gone, or that the guest has shut: an error is
    // enough.
    signal(SIGPIPE, SIG_IGN);
    UniqueFd link{3};
    UniqueFd report{4};
    try {
        virtio::UserNetworkSettings settings;
        Confinement confinement;
        parse(argc, argv, settings, confinement);
        virtio::UserNetwork network{settings, std::move(link)};
        confine(confinement);
        tell(report.get(), ExitStatus::success, "");
        report.reset();
        network.serve();
        return 0;
    } catch (const Error& error) {
        tell(report.get(), error.status(), error.what());
        return static_cast<int>(error.status());
    } catch (const std::exception& error) {
        tell(report.get(), ExitStatus::internal_failure, error.what());
        return static_cast<int>(ExitStatus::internal_failure);
    }
}
