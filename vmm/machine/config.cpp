#include "vmm/machine/config.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <boost/json.hpp>
#include <limits>
#include <set>

#include "base/error.h"
#include "devices/console/console.h"
#include "devices/pci/bus.h"
#include "vmm/arch/arch.h"
#include "vmm/machine/option_text.h"

namespace hull {

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

uint64_t host_memory() {
    struct sysinfo info {};
    if (sysinfo(&info) != 0) {
        return std::numeric_limits<uint64_t>::max();
    }
    return (uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
}

}  // namespace

const char* name_of(boot::PlatformTables tables) {
    return tables == boot::PlatformTables::fdt ? "fdt" : "acpi";
}

boot::PlatformTables parse_platform(const std::string& text) {
    for (const auto tables : {boot::PlatformTables::acpi, boot::PlatformTables::fdt}) {
        if (text == name_of(tables)) {
            return tables;
        }
    }
    refuse_option("--platform", text, "it is neither acpi nor fdt", "give one of these");
}

const char* name_of(VirtioBus bus) {
    return bus == VirtioBus::pci ? "pci" : "mmio";
}

VirtioBus parse_bus(const std::string& text) {
    for (const auto bus : {VirtioBus::mmio, VirtioBus::pci}) {
        if (text == name_of(bus)) {
            return bus;
        }
    }
    refuse_option("--bus", text, "it is neither mmio nor pci", "give one of these");
}

void MachineConfig::check() const {
    if (kernel.empty()) {
        throw Error{ExitStatus::usage, "cannot boot", "no kernel was given and none has been fetched",
                    "give one (--kernel FILE) or run scripts/guest-kernel"};
    }
    if (cpus < 1 || cpus > arch::kMaxCpus) {
        refuse_option("--cpus", std::to_string(cpus),
                      "a guest has 1 to " + std::to_string(arch::kMaxCpus) + " vCPUs",
                      "give a number in that range");
    }
    if (memory < kMinMemory || memory % kMiB != 0) {
        refuse_option("--memory", memory_size_text(memory), "a guest has at least 16M, in whole MiB",
                      "give more");
    }
    if (hugepages && memory % (2 * kMiB) != 0) {
        refuse_option("--memory", memory_size_text(memory), "with --hugepages it must be a multiple of 2M",
                      "give 1M more");
    }
    const uint64_t host = host_memory();
    if (memory > host) {
        throw Error{ExitStatus::no_resources,
                    "cannot give the guest " + memory_size_text(memory) + " of memory",
                    "the host has " + memory_size_text(host - host % kMiB) + ", swap included",
                    "give less (--memory)"};
    }
    const size_t devices = disks.size() + nets.size() + shares.size() + (view ? 1 : 0) + (vsock ? 1 : 0) +
                           (rng ? 1 : 0) + (console.virtio ? 1 : 0) + (ports.empty() ? 0 : 1);
    const bool is_pci = bus_in_use() == VirtioBus::pci;
    const uint32_t room = is_pci ? pci::PciBus::kSlots - 1 : arch::kMostMmioDevices;
    if (devices > room) {
        throw Error{ExitStatus::usage, "cannot make " + std::to_string(devices) + " virtio devices",
                    std::string{"with --bus "} + name_of(bus_in_use()) + " a machine has room for " +
                        std::to_string(room),
                    "leave some out (--disk, --net, --share, --vsock, --rng, --console virtio, --port)"};
    }
    if (is_pci && platform == boot::PlatformTables::fdt) {
        throw Error{ExitStatus::usage, "cannot use --bus pci with --platform fdt",
                    "on x86 kernels do not take a PCI bus from a device tree", "leave one of them out"};
    }
    if (limits.io && disks.empty() && shares.empty()) {
        refuse_option("--io-limit", limits.io->text(), "the machine has no disk and no shared folder",
                      "leave it out");
    }
    std::set<std::string> ids;  // of what can be removed while the guest runs
    for (size_t number = 0; number < nets.size(); ++number) {
        ids.insert(net_name(number));
    }
    for (size_t number = 0; number < disks.size(); ++number) {
        if (!ids.insert(disks[number].name(number)).second) {
            refuse_option("--disk", disks[number].text(), "another disk or network device has the same id",
                          "give each its own");
        }
    }
    std::set<std::string> tags;
    for (const ShareConfig& share : shares) {
        if (!tags.insert(share.tag).second) {
            refuse_option("--share", share.text(), "another folder has the same tag", "give each its own");
        }
    }
    if (ports.size() > virtio::Console::kMostPorts) {
        throw Error{ExitStatus::usage, "cannot make " + std::to_string(ports.size()) + " ports",
                    "a machine has at most " + std::to_string(virtio::Console::kMostPorts),
                    "leave some out (--port)"};
    }
    std::set<std::string> port_names;
    for (const PortConfig& port : ports) {
        if (!port_names.insert(port.name).second) {
            refuse_option("--port", port.text(), "another port has the same name", "give each its own");
        }
    }
    if (cmdline_raw && !cmdline.empty()) {
        throw Error{ExitStatus::usage, "cannot use --cmdline and --cmdline-raw together",
                    "the first adds to the default command line, the second replaces it",
                    "leave one of them out"};
    }
    if (whole_cmdline().find('\0') != std::string::npos) {
        throw Error{ExitStatus::usage, "cannot use the command line", "it has a zero byte in it",
                    "take it out"};
    }
}

VirtioBus MachineConfig::bus_in_use() const {
    return bus.value_or(platform == boot::PlatformTables::fdt ? VirtioBus::mmio : VirtioBus::pci);
}

bool MachineConfig::shares_memory() const {
    return !shares.empty() || std::ranges::any_of(disks, &DiskConfig::is_served) ||
           std::ranges::any_of(nets,
                               [](const NetConfig& net) { return net.kind == NetConfig::Kind::served; });
}

std::string MachineConfig::whole_cmdline() const {
    if (cmdline_raw) {
        return *cmdline_raw;
    }
    const std::string defaults =
        arch::default_cmdline(platform, bus_in_use() == VirtioBus::pci, console.virtio);
    return cmdline.empty() ? defaults : defaults + " " + cmdline;
}

std::string MachineConfig::to_json() const {
    const auto quoted = [](const std::string& text) {
        return boost::json::serialize(boost::json::string{text});
    };
    const auto list = [&](const auto& parts, const auto& text_of) {
        std::string texts;
        for (const auto& part : parts) {
            texts += (texts.empty() ? "" : ", ") + quoted(text_of(part));
        }
        return "[" + texts + "]";
    };
    const auto text = [](const auto& part) { return part.text(); };
    const std::string files =
        list(initramfs, [](const std::filesystem::path& file) { return file.string(); });
    // The command line is printed whole: that is what the guest gets, and given back it makes the same
    // machine.
    std::string json = "{\n  \"kernel\": " + quoted(kernel.string());
    json += ",\n  \"initramfs\": " + files;
    json += ",\n  \"cmdline-raw\": " + quoted(whole_cmdline());
    json += ",\n  \"cpus\": " + std::to_string(cpus);
    json += ",\n  \"memory\": " + quoted(memory_size_text(memory));
    json += std::string{",\n  \"platform\": "} + quoted(name_of(platform));
    json += std::string{",\n  \"bus\": "} + quoted(name_of(bus_in_use()));
    json += std::string{",\n  \"hugepages\": "} + (hugepages ? "true" : "false");
    json += ",\n  \"disk\": " + list(disks, text);
    json += ",\n  \"net\": " + list(nets, text);
    json += ",\n  \"share\": " + list(shares, text);
    if (vsock) {
        json += ",\n  \"vsock\": " + quoted(vsock->text());
    }
    json += std::string{",\n  \"rng\": "} + (rng ? "true" : "false");
    json += ",\n  \"console\": " + quoted(console.text());
    json += ",\n  \"port\": " + list(ports, text);
    if (limits.cpu != 0) {
        json += ",\n  \"cpu-quota\": " + cpu_quota_text(limits.cpu);
    }
    if (limits.memory != 0) {
        json += ",\n  \"memory-limit\": " + quoted(memory_size_text(limits.memory));
    }
    if (limits.pids != 0) {
        json += ",\n  \"pids-limit\": " + std::to_string(limits.pids);
    }
    if (limits.io) {
        json += ",\n  \"io-limit\": " + quoted(limits.io->text());
    }
    json += ",\n  \"stop-timeout\": " + std::to_string(static_cast<double>(stop_timeout.count()) / 1000);
    json += std::string{",\n  \"timing\": "} + (timing ? "true" : "false");
    json += std::string{",\n  \"jail\": "} + quoted(name_of(jail.mode));
    if (!jail.without.empty()) {
        json += ",\n  \"jail-without\": " + quoted(jail.without_text());
    }
    if (!jail.user.empty()) {
        json += ",\n  \"jail-user\": " + quoted(jail.user);
    }
    return json + "\n}\n";
}

}  // namespace hull
