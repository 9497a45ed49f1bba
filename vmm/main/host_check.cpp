#include "vmm/main/host_check.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <utility>

#include "base/guest_memory.h"
#include "vmm/arch/arch.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vm.h"
#include "vmm/main/isolation_check.h"

namespace hull {

namespace {

using Verdict = CheckResult::Verdict;

std::string first_line(const char* path) {
    std::ifstream file{path};
    std::string line;
    std::getline(file, line);
    return line;
}

CheckResult check_capabilities(const Kvm& kvm) {
    std::string missing;
    for (const arch::NeededCapability& needed : arch::kNeededCapabilities) {
        if (kvm.capability(needed.number) == 0) {
            missing += (missing.empty() ? "lacks " : ", ") + std::string{needed.name};
        }
    }
    if (!missing.empty()) {
        return {"KVM capabilities", Verdict::failure, missing, "use a newer kernel on the host"};
    }
    return {"KVM capabilities", Verdict::good,
            "all that is needed; up to " + std::to_string(kvm.max_vcpus()) + " vCPUs", ""};
}

/// Instructions a second of guest kernel code, the best of a few runs.
double guest_speed(const Kvm& kvm) {
    using Clock = std::chrono::steady_clock;
    constexpr int kRuns = 3;
    const std::array<GuestRange, 1> ranges{GuestRange::of(0, uint64_t{1} << 20)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    Vm vm{kvm};
    vm.map_memory(memory);
    arch::prepare_vm(vm);
    Vcpu vcpu{vm, 0};
    arch::prepare_vcpu(kvm, vcpu, 1);
    double best = 0;
    for (int run = 0; run < kRuns; ++run) {
        const uint64_t instructions = arch::prepare_speed_probe(memory, vcpu);
        const auto start = Clock::now();
        VcpuExit exit = vcpu.run();
        while (std::holds_alternative<vcpu_exit::Interrupted>(exit)) {
            exit = vcpu.run();
        }
        const std::chrono::duration<double> taken = Clock::now() - start;
        if (const auto* failure = std::get_if<vcpu_exit::Failure>(&exit)) {
            throw Error{ExitStatus::host_unfit, "a small guest cannot run", failure->why};
        }
        best = std::max(best, static_cast<double>(instructions) / taken.count());
    }
    return best;
}

CheckResult check_speed(const Kvm& kvm) {
    // Interpreting hosts were measured at 1.4 to 2 million, an emulated processor with real virtualization at
    // 60 and more, hardware at thousands.
    constexpr double kInterpreted = 15e6;
    const double speed = guest_speed(kvm);
    const std::string found = "guest kernel code runs at " +
                              std::to_string(static_cast<uint64_t>(speed / 1e6)) +
                              " million instructions a second";
    if (speed < kInterpreted) {
        return {"guest speed", Verdict::failure, found + ": the host interprets it instead of running it",
                "a nested KVM without hardware support cannot boot a Linux kernel in useful time: use "
                "another host, or "
                "scripts/test-host"};
    }
    return {"guest speed", Verdict::good, found, ""};
}

void check_kvm(std::vector<CheckResult>& results) {
    try {
        const Kvm kvm;
        results.push_back({"KVM", Verdict::good, "/dev/kvm opens, API version 12", ""});
        results.push_back(check_capabilities(kvm));
        if (results.back().verdict == Verdict::good) {
            results.push_back(check_speed(kvm));
        }
    } catch (const Error& error) {
        results.push_back({"KVM", Verdict::failure, error.what(), ""});
    }
}

CheckResult check_vm_creation() {
    const std::string setting = first_line("/sys/module/kvm/parameters/nx_huge_pages");
    if (setting == "Y") {
        return {
            "start of a VM", Verdict::note,
            "kvm.nx_huge_pages is on: making a VM takes some milliseconds more",
            "only where guests are trusted or the processor is not affected by ITLB multihit (else a guest "
            "can stop the host): kvm.nx_huge_pages=never"};
    }
    return {"start of a VM", Verdict::good, "nothing slows it", ""};
}

CheckResult check_transparent_huge_pages() {
    const std::string setting = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
    if (setting.find("[never]") != std::string::npos || setting.empty()) {
        return {"transparent huge pages", Verdict::note, "off: guest memory is slower to touch",
                "as root: echo madvise >/sys/kernel/mm/transparent_hugepage/enabled"};
    }
    return {"transparent huge pages", Verdict::good, setting, ""};
}

CheckResult check_reserved_huge_pages() {
    const std::string free = first_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    if (free.empty() || free == "0") {
        return {"reserved huge pages", Verdict::note, "none are free, so --hugepages cannot be used",
                "as root: sysctl vm.nr_hugepages=NUMBER (2 MiB each)"};
    }
    return {"reserved huge pages", Verdict::good, free + " of 2 MiB are free", ""};
}

CheckResult check_device(const char* what, const char* path, const char* use, const char* advice) {
    const UniqueFd fd{open(path, O_RDWR | O_CLOEXEC)};
    if (!fd.valid()) {
        return {what, Verdict::note, std::string{path} + ": " + errno_text(errno) + " (" + use + ")", advice};
    }
    return {what, Verdict::good, std::string{path} + " opens", ""};
}

CheckResult check_io_uring() {
    io_uring_params parameters{};
    const UniqueFd ring{static_cast<int>(syscall(SYS_io_uring_setup, 1, &parameters))};
    if (!ring.valid()) {
        return {"io_uring", Verdict::note,
                "cannot be used: " + errno_text(errno) + " (disks are slower without)",
                "as root: sysctl kernel.io_uring_disabled=0, or a kernel from 5.11 on"};
    }
    return {"io_uring", Verdict::good, "can be used", ""};
}

void print(const std::vector<CheckResult>& results) {
    for (const CheckResult& result : results) {
        const char* verdict = result.verdict == Verdict::good   ? "ok"
                              : result.verdict == Verdict::note ? "note"
                                                                : "FAIL";
        std::printf("%-24s %-5s %s\n", result.what.c_str(), verdict, result.found.c_str());
        if (!result.advice.empty()) {
            std::printf("%-24s %-5s to do: %s\n", "", "", result.advice.c_str());
        }
    }
}

}  // namespace

std::vector<CheckResult> check_host() {
    std::vector<CheckResult> results;
    utsname name{};
    uname(&name);
    results.push_back({"host kernel", Verdict::good,
                       std::string{name.sysname} + " " + name.release + " " + name.machine, ""});
    check_kvm(results);
    results.push_back(check_vm_creation());
    results.push_back(check_transparent_huge_pages());
    results.push_back(check_reserved_huge_pages());
    results.push_back(check_device("tap devices", "/dev/net/tun", "needed for networks by tap only",
                                   "as root: modprobe tun, and give this user access"));
    results.push_back(check_device("vhost-net", "/dev/vhost-net", "networks by tap are faster with it",
                                   "as root: modprobe vhost_net, and give this user access"));
    results.push_back(check_io_uring());
    for (CheckResult& result : check_isolation_settings("/")) {
        results.push_back(std::move(result));
    }
    results.push_back(check_user_namespaces());
    for (CheckResult& result : check_jail()) {
        results.push_back(std::move(result));
    }
    return results;
}

ExitStatus run_check(const std::vector<std::string>& arguments) {
    bool quiet = false;
    for (const std::string& argument : arguments) {
        if (argument == "--help" || argument == "-h") {
            std::puts(
                "Usage: hull check [--quiet]\n"
                "Looks at this host and says whether guests can run on it. Exit status 0 only where real "
                "guests can\n"
                "run, 3 where they cannot. With --quiet nothing is printed.");
            return ExitStatus::success;
        }
        if (argument != "--quiet") {
            throw Error{ExitStatus::usage, "cannot use '" + argument + "'", "hull check has no such option",
                        "see 'hull check --help'"};
        }
        quiet = true;
    }
    const std::vector<CheckResult> results = check_host();
    const bool fit = std::none_of(results.begin(), results.end(), [](const CheckResult& result) {
        return result.verdict == Verdict::failure;
    });
    if (!quiet) {
        print(results);
        std::puts(fit ? "Guests can run on this host." : "Guests cannot run on this host.");
    }
    return fit ? ExitStatus::success : ExitStatus::host_unfit;
}

}  // namespace hull
