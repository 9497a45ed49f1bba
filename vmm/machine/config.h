// What a machine is to be, before anything of it exists.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "boot/platform.h"
#include "vmm/machine/console_config.h"
#include "vmm/machine/disk_config.h"
#include "vmm/machine/jail_config.h"
#include "vmm/machine/limits_config.h"
#include "vmm/machine/net_config.h"
#include "vmm/machine/share_config.h"
#include "vmm/machine/view_config.h"
#include "vmm/machine/vsock_config.h"

namespace hull {

/// How virtio devices are connected.
enum class VirtioBus {
    mmio,  ///< each by a page of registers and one interrupt
    pci,   ///< each as a PCI function, with an interrupt for every queue
};

/// Everything that the command line, a configuration file or a test says of a machine. A plain value: nothing
/// is opened or checked until check() is called.
struct MachineConfig {
    static constexpr uint64_t kMinMemory = uint64_t{16} << 20;

    std::filesystem::path kernel;
    std::vector<std::filesystem::path> initramfs;  ///< joined in this order
    std::string cmdline;                           ///< the user's words, after the default ones
    std::optional<std::string> cmdline_raw;        ///< the whole command line instead
    uint32_t cpus = 1;
    uint64_t memory = uint64_t{512} << 20;  ///< bytes, whole MiB
    boot::PlatformTables platform = boot::PlatformTables::acpi;
    std::optional<VirtioBus> bus;  ///< none: what suits the platform
    bool hugepages = false;
    std::vector<DiskConfig> disks;    ///< in the order in which the guest finds them
    std::vector<NetConfig> nets;      ///< likewise
    std::vector<ShareConfig> shares;  ///< likewise
    std::optional<ViewConfig> view;   ///< not on the command line
    std::optional<VsockConfig> vsock;
    bool rng = false;  ///< a virtio entropy device
    ConsoleConfig console;
    std::vector<PortConfig> ports;  ///< further ports, in this order
    LimitsConfig limits;
    std::chrono::milliseconds stop_timeout{10'000};  ///< from the power button to the end
    bool timing = false;
    JailConfig jail;

    /// Throws Error (usage, or no_resources for more memory than the host has) for the first thing that is
    /// wrong.
    void check() const;
    [[nodiscard]] VirtioBus bus_in_use() const;
    /// Whether another program has to see the guest's memory.
    [[nodiscard]] bool shares_memory() const;
    /// The command line as the guest gets it.
    [[nodiscard]] std::string whole_cmdline() const;
    /// The configuration as JSON, two spaces deep, with a final newline: what --dry-run prints and --config
    /// takes.
    [[nodiscard]] std::string to_json() const;
};

/// "acpi" or "fdt".
const char* name_of(boot::PlatformTables tables);
/// Throws Error (usage) for anything else.
boot::PlatformTables parse_platform(const std::string& text);

/// "mmio" or "pci".
const char* name_of(VirtioBus bus);
/// Throws Error (usage) for anything else.
VirtioBus parse_bus(const std::string& text);

}  // namespace hull
