#include "vmm/main/user_net.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "base/error.h"

namespace hull {

namespace {

/// So that the largest frames do not wait for each other; the host may allow less.
constexpr int kLinkBuffer = 1 << 20;

}  // namespace

UserNet::UserNet(const NetConfig& config, const jail::Cgroup* group) {
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
    process_.emplace(HelperProcess::Program{.name = "hull-user-net",
                                            .file = own_file("hull-user-net"),
                                            .arguments = std::move(arguments),
                                            .descriptors = {far_end.get(), report_end.get()},
                                            .group = group});
}

void UserNet::wait_until_ready() {
    std::string report;
    std::array<char, 512> part{};
    for (ssize_t got = 1; got != 0;) {
        got = read(report_.get(), part.data(), part.size());
        if (got > 0) {
            report.append(part.data(), static_cast<size_t>(got));
        }
    }
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
