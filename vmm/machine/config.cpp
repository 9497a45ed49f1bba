#include "vmm/machine/config.h"

#include <linux/virtio_blk.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "devices/block/block.h"
#include "devices/pci/bus.h"
#include "vmm/arch/arch.h"

namespace hull {

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

[[noreturn]] void refuse(const std::string& option, const std::string& text, const std::string& why,
                         const std::string& advice) {
    throw Error{ExitStatus::usage, "cannot use " + option + " '" + text + "'", why, advice};
}

constexpr const char* kDiskForm = "FILE[,id=NAME][,readonly|overlay][,direct][,queues=N][,iops=N][,bps=SIZE]";

/// At least one word. Two commas stand for one within a word.
std::vector<std::string> split_at_commas(const std::string& text) {
    std::vector<std::string> words(1);
    for (size_t at = 0; at < text.size(); ++at) {
        if (text[at] != ',') {
            words.back() += text[at];
        } else if (text.compare(at, 2, ",,") == 0) {
            words.back() += text[at++];
        } else {
            words.emplace_back();
        }
    }
    return words;
}

std::string double_commas(std::string text) {
    for (size_t at = text.find(','); at != std::string::npos; at = text.find(',', at + 2)) {
        text.insert(at, ",");
    }
    return text;
}

/// Six bytes in hexadecimal, two digits each, with colons between. An address for many (its lowest bit set)
/// or of zeros is no device's.
virtio::MacAddress parse_mac(const std::string& text) {
    virtio::MacAddress mac{};
    bool sound = text.size() == 17;
    for (size_t at = 0; sound && at < mac.size(); ++at) {
        const char* digits = text.data() + 3 * at;
        const auto [rest, error] = std::from_chars(digits, digits + 2, mac.at(at), 16);
        sound = error == std::errc{} && rest == digits + 2 && (at == 5 || *rest == ':');
    }
    if (!sound || (mac[0] & 1) != 0 || mac == virtio::MacAddress{}) {
        refuse("--net mac", text, "it is not the address of one network device",
               "write for example 02:00:00:00:00:01");
    }
    return mac;
}

uint64_t host_memory() {
    struct sysinfo info {};
    if (sysinfo(&info) != 0) {
        return std::numeric_limits<uint64_t>::max();
    }
    return (uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
}

}  // namespace

ConsoleConfig ConsoleConfig::parse(const std::string& text) {
    const std::string file_prefix = "file:";
    if (text == "stdio") {
        return {};
    }
    if (text == "none") {
        return {.kind = Kind::none, .path = {}};
    }
    if (text.starts_with(file_prefix) && text.size() > file_prefix.size()) {
        return {.kind = Kind::file, .path = text.substr(file_prefix.size())};
    }
    refuse("--console", text, "it is neither stdio, none nor file:PATH", "give one of these");
}

std::string ConsoleConfig::text() const {
    switch (kind) {
        case Kind::stdio:
            return "stdio";
        case Kind::none:
            return "none";
        case Kind::file:
            break;
    }
    return "file:" + path.string();
}

DiskConfig DiskConfig::parse(const std::string& text) {
    const std::vector<std::string> words = split_at_commas(text);
    DiskConfig disk{.path = words.front(), .id = {}};
    if (words.front().empty()) {
        refuse("--disk", text, "it names no file", std::string{"write "} + kDiskForm);
    }
    std::set<std::string> given;
    for (size_t index = 1; index < words.size(); ++index) {
        const std::string& word = words[index];
        const size_t equals = word.find('=');
        const std::string key = word.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
        const bool is_flag = equals == std::string::npos;
        if (!given.insert(key).second) {
            refuse("--disk", text, "'" + key + "' comes twice", "give it once");
        }
        if ((key == "readonly" || key == "overlay") && is_flag) {
            if (disk.use != virtio::DiskUse::write) {
                refuse("--disk", text, "what cannot be written needs no overlay",
                       "leave readonly or overlay out");
            }
            disk.use = key == "readonly" ? virtio::DiskUse::read : virtio::DiskUse::overlay;
        } else if (key == "direct" && is_flag) {
            disk.direct = true;
        } else if (key == "queues" && !is_flag) {
            disk.queues = parse_number(value, "--disk queues", 1, virtio::kMostBlockQueues);
        } else if (key == "iops" && !is_flag) {
            disk.iops = parse_number(value, "--disk iops", 1, std::numeric_limits<uint32_t>::max());
        } else if (key == "bps" && !is_flag) {
            disk.bps = parse_memory_size(value, "--disk bps");
            if (disk.bps == 0) {
                refuse("--disk", text, "a limit of nothing would let nothing pass",
                       "give more, or leave bps out");
            }
        } else if (key == "id" && !is_flag) {
            disk.id = value;
            const bool plain = std::ranges::all_of(value, [](char c) { return c > ' ' && c < 0x7f; });
            if (!plain || value.empty() || value.size() > VIRTIO_BLK_ID_BYTES) {
                refuse("--disk", text, "an id has 1 to 20 printable characters and no space",
                       "give such a one");
            }
        } else {
            refuse("--disk", text, "'" + word + "' has no meaning there",
                   std::string{"write "} + kDiskForm + "; a comma in a name is written twice");
        }
    }
    return disk;
}

std::string DiskConfig::text() const {
    std::string text = double_commas(path.string());
    text += id.empty() ? "" : ",id=" + double_commas(id);
    text += use == virtio::DiskUse::read ? ",readonly" : "";
    text += use == virtio::DiskUse::overlay ? ",overlay" : "";
    text += direct ? ",direct" : "";
    text += queues == 1 ? "" : ",queues=" + std::to_string(queues);
    text += iops == 0 ? "" : ",iops=" + std::to_string(iops);
    return text + (bps == 0 ? "" : ",bps=" + std::to_string(bps / 1024) + "K");
}

NetConfig NetConfig::parse(const std::string& text) {
    constexpr const char* kForm = "write tap=NAME[,mac=XX:XX:XX:XX:XX:XX]";
    NetConfig net;
    for (const std::string& word : split_at_commas(text)) {
        const size_t equals = word.find('=');
        const std::string key = word.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
        if (key == "tap" && net.tap.empty() && !value.empty()) {
            net.tap = value;
        } else if (key == "mac" && !net.mac) {
            net.mac = parse_mac(value);
        } else {
            refuse("--net", text, "'" + word + "' has no meaning there", kForm);
        }
    }
    if (net.tap.empty()) {
        refuse("--net", text, "it does not say what is at the other side", kForm);
    }
    return net;
}

std::string NetConfig::text() const {
    std::string text = "tap=" + double_commas(tap);
    if (mac) {
        text += ",mac=";
        for (size_t at = 0; at < mac->size(); ++at) {
            constexpr std::string_view kDigits = "0123456789abcdef";
            text += at == 0 ? "" : ":";
            text += kDigits.at((*mac).at(at) >> 4);
            text += kDigits.at((*mac).at(at) & 0xf);
        }
    }
    return text;
}

const char* name_of(boot::PlatformTables tables) {
    return tables == boot::PlatformTables::fdt ? "fdt" : "acpi";
}

boot::PlatformTables parse_platform(const std::string& text) {
    for (const auto tables : {boot::PlatformTables::acpi, boot::PlatformTables::fdt}) {
        if (text == name_of(tables)) {
            return tables;
        }
    }
    refuse("--platform", text, "it is neither acpi nor fdt", "give one of these");
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
    refuse("--bus", text, "it is neither mmio nor pci", "give one of these");
}

uint64_t parse_memory_size(const std::string& text, const std::string& option) {
    uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    std::string unit{rest, end};
    std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    });
    for (const std::string ending : {"IB", "B"}) {
        if (unit.size() > ending.size() && unit.ends_with(ending)) {
            unit.resize(unit.size() - ending.size());
        }
    }
    const std::string units = "KMG";
    const size_t place = unit.empty()       ? units.find('M')
                         : unit.size() == 1 ? units.find(unit)
                                            : std::string::npos;
    if (error != std::errc{} || place == std::string::npos) {
        refuse(option, text, "it is not a size", "write for example 512M or 2G");
    }
    const uint64_t factor = uint64_t{1024} << (10 * place);
    if (number > std::numeric_limits<uint64_t>::max() / factor) {
        refuse(option, text, "it is more than a processor can address", "give less");
    }
    return number * factor;
}

std::string memory_size_text(uint64_t bytes) {
    constexpr uint64_t kGiB = uint64_t{1} << 30;
    return bytes % kGiB == 0 ? std::to_string(bytes / kGiB) + "G" : std::to_string(bytes / kMiB) + "M";
}

std::chrono::milliseconds parse_seconds(const std::string& text, const std::string& option) {
    constexpr double kDay = 24 * 60 * 60;
    double seconds = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, seconds);
    if (error != std::errc{} || rest != end || !(seconds >= 0 && seconds <= kDay)) {
        refuse(option, text, "it is not a number of seconds from 0 to 86400", "write for example 10 or 0.5");
    }
    return std::chrono::milliseconds{std::llround(seconds * 1000)};
}

uint32_t parse_number(const std::string& text, const std::string& option, uint32_t least, uint32_t most) {
    uint32_t number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{} || rest != end || number < least || number > most) {
        const std::string range = std::to_string(least) + " to " + std::to_string(most);
        refuse(option, text, "it is not a whole number from " + range, "give one");
    }
    return number;
}

void MachineConfig::check() const {
    if (kernel.empty()) {
        throw Error{ExitStatus::usage, "cannot boot", "no kernel was given and none has been fetched",
                    "give one (--kernel FILE) or run scripts/guest-kernel"};
    }
    if (cpus < 1 || cpus > arch::kMaxCpus) {
        refuse("--cpus", std::to_string(cpus),
               "a guest has 1 to " + std::to_string(arch::kMaxCpus) + " vCPUs",
               "give a number in that range");
    }
    if (memory < kMinMemory || memory % kMiB != 0) {
        refuse("--memory", memory_size_text(memory), "a guest has at least 16M, in whole MiB", "give more");
    }
    if (hugepages && memory % (2 * kMiB) != 0) {
        refuse("--memory", memory_size_text(memory), "with --hugepages it must be a multiple of 2M",
               "give 1M more");
    }
    const uint64_t host = host_memory();
    if (memory > host) {
        throw Error{ExitStatus::no_resources,
                    "cannot give the guest " + memory_size_text(memory) + " of memory",
                    "the host has " + memory_size_text(host - host % kMiB) + ", swap included",
                    "give less (--memory)"};
    }
    const size_t devices = disks.size() + nets.size() + (rng ? 1 : 0);
    const bool is_pci = bus_in_use() == VirtioBus::pci;
    const uint32_t room = is_pci ? pci::PciBus::kSlots - 1 : arch::kMostMmioDevices;
    if (devices > room) {
        throw Error{ExitStatus::usage, "cannot make " + std::to_string(devices) + " virtio devices",
                    std::string{"with --bus "} + name_of(bus_in_use()) + " a machine has room for " +
                        std::to_string(room),
                    "leave some out (--disk, --net, --rng)"};
    }
    if (is_pci && platform == boot::PlatformTables::fdt) {
        throw Error{ExitStatus::usage, "cannot use --bus pci with --platform fdt",
                    "on x86 kernels do not take a PCI bus from a device tree", "leave one of them out"};
    }
    std::set<std::string> ids;
    for (const DiskConfig& disk : disks) {
        if (!disk.id.empty() && !ids.insert(disk.id).second) {
            refuse("--disk", disk.text(), "another disk has the same id", "give each its own");
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

std::string MachineConfig::whole_cmdline() const {
    if (cmdline_raw) {
        return *cmdline_raw;
    }
    const std::string defaults = arch::default_cmdline(platform, bus_in_use() == VirtioBus::pci);
    return cmdline.empty() ? defaults : defaults + " " + cmdline;
}

std::string MachineConfig::to_json() const {
    const auto quoted = [](const std::string& text) {
        return boost::json::serialize(boost::json::string{text});
    };
    std::string files;
    for (const auto& file : initramfs) {
        files += (files.empty() ? "" : ", ") + quoted(file.string());
    }
    // The command line is printed whole: that is what the guest gets, and given back it makes the same
    // machine.
    std::string json = "{\n  \"kernel\": " + quoted(kernel.string());
    json += ",\n  \"initramfs\": [" + files + "]";
    json += ",\n  \"cmdline-raw\": " + quoted(whole_cmdline());
    json += ",\n  \"cpus\": " + std::to_string(cpus);
    json += ",\n  \"memory\": " + quoted(memory_size_text(memory));
    json += std::string{",\n  \"platform\": "} + quoted(name_of(platform));
    json += std::string{",\n  \"bus\": "} + quoted(name_of(bus_in_use()));
    json += std::string{",\n  \"hugepages\": "} + (hugepages ? "true" : "false");
    std::string disk_texts;
    for (const DiskConfig& disk : disks) {
        disk_texts += (disk_texts.empty() ? "" : ", ") + quoted(disk.text());
    }
    json += ",\n  \"disk\": [" + disk_texts + "]";
    std::string net_texts;
    for (const NetConfig& net : nets) {
        net_texts += (net_texts.empty() ? "" : ", ") + quoted(net.text());
    }
    json += ",\n  \"net\": [" + net_texts + "]";
    json += std::string{",\n  \"rng\": "} + (rng ? "true" : "false");
    json += ",\n  \"console\": " + quoted(console.text());
    json += ",\n  \"stop-timeout\": " + std::to_string(static_cast<double>(stop_timeout.count()) / 1000);
    json += std::string{",\n  \"timing\": "} + (timing ? "true" : "false");
    return json + "\n}\n";
}

}  // namespace hull
