#include "container/machine/container_machine.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "container/machine/container_folder.h"
#include "container/machine/container_session.h"
#include "guest/agent/protocol.h"
#include "vmm/machine/option_text.h"
#include "vmm/main/helper_process.h"
#include "vmm/main/made_files.h"
#include "vmm/main/terminal.h"

namespace hull::container {

namespace fs = std::filesystem;

namespace {

// Below a container's folder.
constexpr const char* kVsock = "vsock";
constexpr const char* kConsole = "console";

/// What its guest's console prints. One that somebody who was killed has left would not be removed again.
UniqueFd make_console(MadeFiles& made, const fs::path& path) {
    unlink(path.c_str());
    return made.open_pipe(path);
}

}  // namespace

uint64_t ContainerMachine::memory_of(const std::optional<uint64_t>& limit) {
    constexpr uint64_t kMebibyte = uint64_t{1} << 20;
    constexpr uint64_t kDefault = 1024 * kMebibyte;
    constexpr uint64_t kKernels = 64 * kMebibyte;
    constexpr uint64_t kTables = 32;  // of all memory, a part that says what each page is used for
    if (!limit) {
        return kDefault;
    }
    const uint64_t whole = *limit + *limit / kTables + kKernels;
    return (whole + kMebibyte - 1) / kMebibyte * kMebibyte;
}

uint32_t ContainerMachine::cpus_for(const std::optional<double>& limit) {
    constexpr uint32_t kMost = 254;
    cpu_set_t set;
    CPU_ZERO(&set);
    const int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    const auto wanted = limit ? static_cast<uint32_t>(std::ceil(*limit)) : static_cast<uint32_t>(allowed);
    return std::clamp(std::min(wanted, static_cast<uint32_t>(allowed)), uint32_t{1}, kMost);
}

std::string ContainerMachine::disk_name(const ContainerConfig& config, size_t layers, size_t shared) {
    const size_t before_all = layers == 0 ? 1 : 2;  // the writable disk, and the image's
    const auto before = std::span{config.shared}.first(shared);
    const auto disks = std::ranges::count(before, SharedMount::By::disk, &SharedMount::by);
    return std::string{"vd"} + static_cast<char>('a' + before_all + static_cast<size_t>(disks));
}

std::vector<std::string> ContainerMachine::boot_words(const ContainerConfig& config, const fs::path& folder,
                                                      const fs::path& agent) const {
    std::vector<std::string> all{"boot", "--kernel", kernel};
    const auto add = [&](const char* option, const std::string& value) {
        all.emplace_back(option);
        all.push_back(value);
    };
    if (!initramfs.empty()) {
        add("--initramfs", initramfs);
    }
    add("--initramfs", agent);
    // No interface but those that the container is to have.
    add("--cmdline", "dummy.numdummies=0");
    add("--bus", "pci");  // up a millisecond later than mmio; each request takes three exits less
    add("--cpus", std::to_string(cpus));
    add("--memory", memory_size_text(memory_of(config.group.memory)));
    add("--disk", double_commas(writable) + (is_writable_kept ? "" : ",overlay"));
    if (!layers.empty()) {
        std::string disk;
        for (const fs::path& layer : layers) {
            disk += "part=" + double_commas(layer) + ",";
        }
        add("--disk", disk + "readonly");
    }
    using By = SharedMount::By;
    for (const By by : {By::share, By::cached_share}) {
        std::string parts;
        for (const SharedMount& mount : config.shared) {
            if (mount.by == by) {
                parts += (mount.is_read_only ? ",readonly-part=" : ",part=") + double_commas(mount.source);
            }
        }
        if (!parts.empty()) {
            add("--share",
                std::string{"tag="} + share_tag(by) + parts + (by == By::cached_share ? ",cached" : ""));
        }
    }
    for (const SharedMount& mount : config.shared) {
        if (mount.by == By::disk) {
            add("--disk", double_commas(mount.source));
        }
    }
    // Each machine has sockets of its own, so all may have the same number.
    add("--vsock", "cid=3,socket=" + double_commas(folder / kVsock));
    if (config.has_network && config.endpoints.empty()) {
        std::string network = "user";
        for (const std::string& port : ports) {
            network += ",forward=" + port;
        }
        add("--net", network);
    }
    add("--console", "file:" + (folder / kConsole).string());
    add("--stop-timeout", "0");  // nothing in the guest is worth waiting for
    all.insert(all.end(), words.begin(), words.end());
    return all;
}

StartedMachine::StartedMachine(const ContainerConfig& config, const ContainerMachine& machine,
                               const fs::path& folder, int errors)
    : listener{made.listen_at(folder / (std::string{kVsock} + "_" + std::to_string(agent::kPort)))},
      console{make_console(made, folder / kConsole)},
      boot{{.name = "hull",
            .file = own_file("hull"),
            .arguments = machine.boot_words(config, folder, own_file("hull-agent.initramfs")),
            .descriptors = {},
            .prepare = [=]() -> std::string {
                return dup2(errors, STDERR_FILENO) < 0 ? "its errors have no place" : "";
            }}} {}

void StartedMachine::ask_to_end() const {
    syscall(SYS_pidfd_send_signal, boot.pidfd(), SIGTERM, nullptr, 0);
}

int run_container(const ContainerConfig& config, const ContainerMachine& machine, const std::string& name,
                  std::function<void()> is_up) {
    const ContainerFolder folder{runtime_folder(), name};
    RawTerminal terminal{STDIN_FILENO};
    StartedMachine started{config, machine, folder.path(), STDERR_FILENO};
    const auto tidy_up = [&] {
        constexpr int kPatienceMs = 10'000;
        started.ask_to_end();
        pollfd entry{started.boot.pidfd(), POLLIN, 0};
        poll(&entry, 1, kPatienceMs);
        terminal.restore();
    };
    try {
        ContainerSession session{config,
                                 {.listener = std::move(started.listener),
                                  .console = std::move(started.console),
                                  .layers = machine.layers.size(),
                                  .pidfd = started.boot.pidfd(),
                                  .is_up = std::move(is_up)}};
        // Not before it has blocked the signals that would end this process and leave the terminal so.
        if (config.tty && config.has_input) {
            terminal.enter();
        }
        const int status = session.run();
        tidy_up();
        return status;
    } catch (...) {
        tidy_up();
        throw;
    }
}

}  // namespace hull::container
