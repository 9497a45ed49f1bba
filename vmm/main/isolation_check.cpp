#include "vmm/main/isolation_check.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <system_error>

#include "base/small_file.h"
#include "base/unique_fd.h"
#include "vmm/jail/jail.h"
#include "vmm/jail/landlock.h"

namespace hull {

namespace {

using Verdict = CheckResult::Verdict;

std::string first_line(const std::filesystem::path& path) {
    std::ifstream file{path};
    std::string line;
    std::getline(file, line);
    return line;
}

/// Linux, Documentation/ABI/testing/sysfs-devices-system-cpu: a file for each fault of processors that the
/// kernel knows, with "Not affected", "Mitigation: …", "Vulnerable…", or several of these behind each other.
CheckResult check_processor_faults(const std::filesystem::path& root) {
    const char* what = "processor's faults";
    std::map<std::string, std::string> told;
    std::error_code missing;
    for (const auto& file :
         std::filesystem::directory_iterator{root / "sys/devices/system/cpu/vulnerabilities", missing}) {
        told[file.path().filename()] = first_line(file.path());
    }
    if (told.empty()) {
        return {what, Verdict::note, "the kernel does not tell of any", "use a newer kernel on the host"};
    }
    std::string open;
    for (const auto& [fault, state] : told) {
        if (state.find("ulnerable") != std::string::npos || state.starts_with("Unknown")) {
            open += (open.empty() ? "" : ", ") + fault;
        }
    }
    if (!open.empty()) {
        return {what, Verdict::note, "open to " + open + ": a guest may read what is not its own",
                "update the kernel and the processor's microcode, and boot without mitigations=off; "
                "/sys/devices/system/cpu/vulnerabilities has the details"};
    }
    return {what, Verdict::good, "the kernel has an answer to each that it knows", ""};
}

CheckResult check_shared_cores(const std::filesystem::path& root) {
    const char* what = "threads of a core";
    if (first_line(root / "sys/devices/system/cpu/smt/active") == "1") {
        return {
            what, Verdict::note, "SMT is on: a guest may watch who runs on the other thread of its core",
            "where guests do not trust each other, as root: echo off >/sys/devices/system/cpu/smt/control "
            "(or boot with nosmt)"};
    }
    return {what, Verdict::good, "none are shared (SMT is off)", ""};
}

CheckResult check_merged_pages(const std::filesystem::path& root) {
    const char* what = "merging of pages";
    if (first_line(root / "sys/kernel/mm/ksm/run") == "1") {
        return {
            what, Verdict::note,
            "KSM is on: Hull does not offer it the guests' memory, but who starts Hull may, and then a guest "
            "can find out what is in another's",
            "as root: echo 2 >/sys/kernel/mm/ksm/run"};
    }
    return {what, Verdict::good, "off (KSM)", ""};
}

CheckResult check_seccomp() {
    const uint32_t action = SECCOMP_RET_TRAP;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
        return {"seccomp", Verdict::note, "cannot be used: " + errno_text(errno),
                "use a kernel with CONFIG_SECCOMP_FILTER"};
    }
    return {"seccomp", Verdict::good, "can be used", ""};
}

CheckResult check_landlock() {
    const int version = jail::landlock_version();
    if (version < 0) {
        return {"Landlock", Verdict::note,
                "cannot be used: " + errno_text(errno) + " (machines need --jail-without landlock)",
                "use a kernel from 5.13 on, with landlock in lsm="};
    }
    return {"Landlock", Verdict::good, "can be used, version " + std::to_string(version), ""};
}

bool write_text(const char* path, std::string_view text) {
    const UniqueFd fd{open(path, O_WRONLY | O_CLOEXEC)};
    return fd.valid() && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// Makes a user namespace, becomes its root, and makes a mount namespace by the rights of that, as Ubuntu's
/// AppArmor lets nobody do who is not known to it. What failed, as errno, or 0.
int try_user_namespace(uid_t user) {
    if (unshare(CLONE_NEWUSER) != 0) {
        return errno;
    }
    const std::string map = "0 " + std::to_string(user) + " 1";
    if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", map) ||
        unshare(CLONE_NEWNS) != 0) {
        return errno;
    }
    return 0;
}

/// In a process of its own: closes a jail that has one layer. Tells into `told` why that fails, or kDone.
constexpr std::string_view kDone = "done";
void try_layer(JailConfig::Layer layer, int told) {
    using enum JailConfig::Layer;
    std::string answer{kDone};
    try {
        JailConfig config{.without = {namespaces, user, landlock, seccomp}};
        config.without.erase(layer);
        const jail::Jail cell{config};
        const pid_t machine = cell.fork_machine();
        if (machine > 0) {
            waitpid(machine, nullptr, 0);
            return;
        }
        if (machine < 0) {
            answer = errno_text(errno);
        } else {
            cell.close({&told, 1}, false);
        }
    } catch (const Error& error) {
        answer = error.what();
    }
    [[maybe_unused]] const ssize_t written = write(told, answer.data(), answer.size());
}

CheckResult check_layer(JailConfig::Layer layer) {
    const std::string what = std::string{"jail: "} + name_of(layer);
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        return {what, Verdict::note, "it cannot be told whether there is that: " + errno_text(errno), ""};
    }
    const UniqueFd out{ends[0]};
    UniqueFd in{ends[1]};
    const pid_t child = fork();
    if (child == 0) {
        try_layer(layer, in.get());
        _exit(0);
    }
    in.reset();
    const std::string told = read_all(out.get());
    if (child > 0) {
        waitpid(child, nullptr, 0);
    }
    return told == kDone ? CheckResult{what, Verdict::good, "can be had", ""}
                         : CheckResult{what, Verdict::note, told.empty() ? "cannot be had" : told, ""};
}

}  // namespace

std::vector<CheckResult> check_isolation_settings(const std::filesystem::path& root) {
    return {check_processor_faults(root), check_shared_cores(root), check_merged_pages(root), check_seccomp(),
            check_landlock()};
}

std::vector<CheckResult> check_jail() {
    return {check_layer(JailConfig::Layer::namespaces), check_layer(JailConfig::Layer::user)};
}

CheckResult check_user_namespaces() {
    const char* what = "user namespaces";
    const uid_t user = geteuid();
    const pid_t child = fork();
    if (child == 0) {
        _exit(try_user_namespace(user));
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        return {what, Verdict::note, "it cannot be told whether they can be made", ""};
    }
    if (const int cause = WEXITSTATUS(status); cause != 0) {
        return {what, Verdict::note,
                "cannot be made: " + errno_text(cause) + " (without them only root confines what it starts)",
                "as root: sysctl user.max_user_namespaces=10000, and where there are such settings "
                "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"};
    }
    return {what, Verdict::good, "can be made", ""};
}

}  // namespace hull
