// hull-user-net [--restrict] [--host-loopback] --mtu=N [--forward=HOSTIP:PORT:GUESTPORT[/udp]]…
//
// The user network of a machine, in a process of its own: it takes a guest's frames apart. Started by the
// keeper alone (vmm/main/user_net.h), with the link to the machine as descriptor 3. Descriptor 4 is a pipe
// that it tells how it started: the byte of an ExitStatus, and behind it the line of an Error.
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"
#include "devices/net/user/user_network.h"

namespace {

using namespace hull;

/// Throws Error (usage) for what the keeper does not give.
virtio::UserNetworkSettings parse(int count, char** words) {
    virtio::UserNetworkSettings settings;
    for (int index = 1; index < count; ++index) {
        const std::string_view word{words[index]};
        const std::string value{word.substr(std::min(word.find('=') + 1, word.size()))};
        if (word == "--restrict") {
            settings.restricted = true;
        } else if (word == "--host-loopback") {
            settings.host_loopback = true;
        } else if (word.starts_with("--mtu=")) {
            std::from_chars(value.data(), value.data() + value.size(), settings.mtu);
        } else if (const auto forward = virtio::PortForward::parse(value);
                   word.starts_with("--forward=") && forward) {
            settings.forwards.push_back(*forward);
        } else {
            throw Error{ExitStatus::usage, "cannot use '" + std::string{word} + "'", "it has no meaning",
                        "leave it to hull to start this program"};
        }
    }
    return settings;
}

/// The ports are open by now: what is left needs no rights but an ordinary user's.
void give_up_rights() {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
    if (syscall(SYS_capset, &header, none.data()) != 0) {
        throw Error{ExitStatus::internal_failure, "cannot give up the user network's rights",
                    errno_text(errno)};
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
        virtio::UserNetwork network{parse(argc, argv), std::move(link)};
        give_up_rights();
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
