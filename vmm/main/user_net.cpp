#include "vmm/main/user_net.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/small_file.h"
#include "vmm/jail/machine_user.h"
#include "vmm/main/view.h"

namespace hull {

namespace {

/// So that the largest frames do not wait for each other; the host may allow less.
constexpr int kLinkBuffer = 1 << 20;

/// The file is the one that is there now: who replaces it rather than writes into it is not followed.
std::string show_name_servers() {
    const char* const place = "etc/resolv.conf";
    std::error_code missing;
    return show({{.source = std::filesystem::canonical(std::filesystem::path{"/"} / place, missing),
                  .place = place}});
}

}  // namespace

UserNet::UserNet(const NetConfig& config, const JailConfig& jail, const jail::Cgroup* group) {
    int link[2];
    int report[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, link) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a user network (socketpair)", errno_text(errno)};
    }
    link_ = UniqueFd{link[0]};
    const UniqueFd far_end{link[1]};
    for (const int end : link) {
        setsockopt(end, SOL_SOCKET, SO_SNDBUF, &kLinkBuffer, sizeof kLinkBuffer);
    }
    if (pipe2(report, O_CLOEXEC) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a user network (pipe)", errno_text(errno)};
    }
    report_ = UniqueFd{report[0]};
    const UniqueFd report_end{report[1]};
    std::vector<std::string> arguments{"--mtu=" + std::to_string(config.mtu_in_use())};
    if (config.restricted) {
        arguments.emplace_back("--restrict");
    }
    if (config.host_loopback) {
        arguments.emplace_back("--host-loopback");
    }
    for (const virtio::PortForward& forward : config.forwards) {
        arguments.push_back("--forward=" + forward.text());
    }
    const bool is_apart = jail.has(JailConfig::Layer::namespaces);
    if (is_apart) {
        arguments.push_back(std::string{"--root="} + kViewPlace);
    }
    if (geteuid() == 0 && jail.has(JailConfig::Layer::user)) {
        const jail::MachineUser user = jail::find_machine_user(jail.user);
        arguments.push_back("--user=" + std::to_string(user.uid) + ":" + std::to_string(user.gid));
    }
    if (jail.has(JailConfig::Layer::seccomp)) {
        arguments.emplace_back("--filter");
    }
    process_.emplace(HelperProcess::Program{.name = "hull-user-net",
                                            .file = own_file("hull-user-net"),
                                            .arguments = std::move(arguments),
                                            .descriptors = {far_end.get(), report_end.get()},
                                            .is_apart = is_apart,
                                            .group = group,
                                            .prepare = is_apart ? show_name_servers : nullptr});
}

void UserNet::wait_until_ready() {
    const std::string report = read_all(report_.get());
    report_.reset();
    if (report.empty()) {
        throw Error{ExitStatus::internal_failure, "cannot make a user network",
                    "hull-user-net ended before it was ready", "are libslirp0 and what it needs installed?"};
    }
    if (const auto status = static_cast<ExitStatus>(report.front()); status != ExitStatus::success) {
        throw Error{status, report.substr(1)};
    }
}

}  // namespace hull
