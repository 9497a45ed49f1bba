#include "vmm/main/options.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <iterator>
#include <sstream>

#include "base/error.h"
#include "base/unique_fd.h"
#include "vmm/arch/arch.h"
#include "vmm/machine/option_text.h"
#include "vmm/main/command_line.h"
#include "vmm/main/config_file.h"
#include "vmm/main/fetched_files.h"

namespace hull {

namespace options = boost::program_options;
namespace fs = std::filesystem;

namespace {

using Values = OptionValues;

constexpr const char* kAdvice = "see 'hull boot --help'";

options::options_description describe() {
    options::options_description known{"Options", 100, 50};
    const auto text = [] { return options::value<Values>(); };
    const auto flag = [] { return options::value<Values>()->zero_tokens(); };
    known.add_options()  //
        ("kernel", text()->value_name("FILE"),
         "bzImage or vmlinux; left out: what scripts/guest-kernel fetched")  //
        ("initramfs", text()->value_name("FILE"),
         "initramfs; may be given several times, joined in order")                                 //
        ("cmdline", text()->value_name("WORDS"), "words for the kernel, behind the default ones")  //
        ("cmdline-raw", text()->value_name("WORDS"),
         "the kernel's whole command line, instead of the default")                                      //
        ("cpus", text()->value_name("N"), "vCPUs, 1 to 254 (default 1)")                                 //
        ("memory", text()->value_name("SIZE"), "memory, for example 512M (the default) or 2G")           //
        ("platform", text()->value_name("KIND"), "how the machine is described: acpi (default) or fdt")  //
        ("bus", text()->value_name("KIND"), "how virtio devices are connected: pci (default) or mmio")   //
        ("hugepages", flag(), "guest memory on the host's reserved huge pages")                          //
        ("disk", text()->value_name("FILE[,…]"),
         "disk in a file or block device; may be given several times; "
         "FILE[,id=NAME][,readonly|overlay][,direct]"
         "[,queues=N][,iops=N][,bps=SIZE], part=FILE,part=FILE,… for one disk with these partitions, or "
         "socket=PATH[,id=NAME][,queues=N] for what a vhost-user-blk server has there")  //
        ("net", text()->value_name("KIND[,…]"),
         "network device; may be given several times; "
         "user[,forward=[HOSTIP:]PORT:GUESTPORT[/udp]]…[,restrict][,host-loopback], "
         "tap=NAME[,queues=N][,vhost=on|off], socket=PATH for a stream of frames or "
         "socket=PATH,vhost-user for a vhost-user-net server, and behind any of them "
         "[,mac=XX:XX:XX:XX:XX:XX][,mtu=N][,pps=N][,bps=SIZE]")  //
        ("share", text()->value_name("tag=T,path=DIR[,readonly][,cached]"),
         "folder that the guest can mount (mount -t virtiofs T /mnt); may be given several times; "
         "cached: changes on the host are seen up to a tenth of a second later; part=PATH and "
         "readonly-part=PATH instead of the path, as often as wanted: files and folders that "
         "are "
         "in it as 1, 2 and so on")  //
        ("vsock", text()->value_name("cid=N,…"),
         "socket device (virtio-vsock) for streams between the guest and unix sockets of the host; "
         "cid=N,socket=PATH")                                                                 //
        ("rng", flag(), "an entropy device (virtio-rng) that gives the host's random bytes")  //
        ("console", text()->value_name("WHERE"),
         "serial console: stdio (default), none or file:PATH; virtio or virtio:… for hvc0")  //
        ("port", text()->value_name("NAME,…"),
         "port /dev/virtio-ports/NAME; may be given several times; "
         "NAME,file=PATH, NAME,socket=PATH or NAME,pipe=PATH")  //
        ("cpu-quota", text()->value_name("N"),
         "the most processors whose time the machine uses, with a fraction (1.5)")  //
        ("memory-limit", text()->value_name("SIZE"),
         "the most of the host's memory that it uses, Hull's own included; it is killed where it needs "
         "more")                                                                               //
        ("pids-limit", text()->value_name("N"), "the most processes and threads that it has")  //
        ("io-limit", text()->value_name("LIMIT,…"),
         "the most that it reads and writes on each disk of the host's that its disks and shares lie on; "
         "rbps=SIZE, wbps=SIZE, riops=N and wiops=N in a second")  //
        ("stop-timeout", text()->value_name("SECONDS"),
         "from the power button (SIGTERM) to the end by force (default 10)");
    add_jail_options(known);
    known.add_options()  //
        ("api-socket", text()->value_name("PATH"),
         "unix socket to control the machine by while it runs (hull ctl, or Firecracker's clients)")  //
        ("config", text()->value_name("FILE"), "JSON object with these options as keys")              //
        ("timing", flag(), "print on standard error how long each part of the start took")            //
        ("dry-run", flag(), "print the machine that would be made, as JSON, and make none")           //
        ("help,h", flag(), "print this");
    return known;
}

bool parse_flag(const std::string& value, const std::string& key) {
    if (value != "true" && value != "false") {
        throw Error{ExitStatus::usage, "cannot use " + key + " '" + value + "'",
                    "it is neither true nor false", "give one of these"};
    }
    return value == "true";
}

template <typename Config>
void parse_each(std::vector<Config>& configs, const Values& values) {
    configs.clear();
    std::ranges::transform(values, std::back_inserter(configs), &Config::parse);
}

/// Puts the values of one option, from either source, into the configuration. False for an unknown key.
bool apply(MachineConfig& config, const std::string& key, const Values& values) {
    if (key == "initramfs") {
        config.initramfs.assign(values.begin(), values.end());
        return true;
    }
    if (key == "disk") {
        parse_each(config.disks, values);
        return true;
    }
    if (key == "net") {
        parse_each(config.nets, values);
        return true;
    }
    if (key == "share") {
        parse_each(config.shares, values);
        return true;
    }
    if (key == "port") {
        parse_each(config.ports, values);
        return true;
    }
    const std::string& value = single_value(values, key);
    if (key == "kernel") {
        config.kernel = value;
    } else if (key == "cmdline") {
        config.cmdline = value;
        config.cmdline_raw.reset();
    } else if (key == "cmdline-raw") {
        config.cmdline_raw = value;
        config.cmdline.clear();
    } else if (key == "cpus") {
        config.cpus = parse_number(value, "--cpus", 1, arch::kMaxCpus);
    } else if (key == "memory") {
        config.memory = parse_memory_size(value, "--memory");
    } else if (key == "platform") {
        config.platform = parse_platform(value);
    } else if (key == "bus") {
        config.bus = parse_bus(value);
    } else if (key == "hugepages") {
        config.hugepages = parse_flag(value, key);
    } else if (key == "vsock") {
        config.vsock = VsockConfig::parse(value);
    } else if (key == "rng") {
        config.rng = parse_flag(value, key);
    } else if (key == "console") {
        config.console = ConsoleConfig::parse(value);
    } else if (key == "cpu-quota") {
        config.limits.cpu = parse_cpu_quota(value);
    } else if (key == "memory-limit") {
        config.limits.memory = parse_memory_limit(value);
    } else if (key == "pids-limit") {
        config.limits.pids = parse_number(value, "--pids-limit", 1, LimitsConfig::kMostPids);
    } else if (key == "io-limit") {
        config.limits.io = IoLimit::parse(value);
    } else if (key == "stop-timeout") {
        config.stop_timeout = parse_seconds(value, "--stop-timeout");
    } else if (key == "timing") {
        config.timing = parse_flag(value, key);
    } else if (apply_jail_option(config.jail, key, value)) {
        return true;
    } else {
        return false;
    }
    return true;
}

/// `what` is the file, as messages name it.
void apply_config(MachineConfig& config, const std::string& text, const std::string& what) {
    std::vector<std::pair<std::string, Values>> by_key;
    for (Setting& setting : parse_config(text, what)) {
        if (by_key.empty() || by_key.back().first != setting.key) {
            by_key.emplace_back(setting.key, Values{});
        }
        by_key.back().second.push_back(std::move(setting.value));
    }
    bool has_cmdline = false;
    for (const auto& [key, values] : by_key) {
        if (key == "cmdline" || key == "cmdline-raw") {
            if (std::exchange(has_cmdline, true)) {
                throw Error{ExitStatus::usage, "cannot use configuration file '" + what + "'",
                            "it has both 'cmdline' and 'cmdline-raw'", "leave one of them out"};
            }
        }
        if (!apply(config, key, values)) {
            throw Error{ExitStatus::usage, "cannot use configuration file '" + what + "'",
                        "'" + key + "' is not an option", kAdvice};
        }
    }
}

void apply_config_file(MachineConfig& config, const std::string& path) {
    constexpr uint64_t kMostBytes = uint64_t{1} << 20;
    const InputFile file = open_input_file(path, "configuration file");
    if (file.size > kMostBytes) {
        throw Error{ExitStatus::usage, "cannot use configuration file '" + path + "'",
                    "it is larger than 1 MiB", "is it the right file?"};
    }
    std::string text(file.size, '\0');
    read_exactly(file, "configuration file", 0, text.data(), text.size());
    apply_config(config, text, path);
}

/// All of a command line but what is looked at before: help, dry-run and config.
void apply_command_line(BootOptions& result, const options::variables_map& values) {
    for (const auto& [key, value] : values) {
        if (key == "help" || key == "dry-run" || key == "config") {
            continue;
        }
        if (key == "api-socket") {
            result.api_socket = single_value(value.as<Values>(), key);
            continue;
        }
        const bool is_flag = key == "hugepages" || key == "rng" || key == "timing";
        apply(result.config, key, is_flag ? Values{"true"} : value.as<Values>());
    }
}

void fill_in_fetched_kernel(MachineConfig& config) {
    if (!config.kernel.empty()) {
        return;
    }
    std::error_code ignored;
    const fs::path folder = guest_folder();
    if (fs::exists(folder / "debian" / "vmlinuz", ignored)) {
        config.kernel = folder / "debian" / "vmlinuz";
        if (config.initramfs.empty() && fs::exists(folder / "initramfs-debian", ignored)) {
            config.initramfs.push_back(folder / "initramfs-debian");
        }
    }
}

}  // namespace

BootOptions parse_boot_options(const std::vector<std::string>& arguments) {
    const options::variables_map values = read_command_line(describe(), arguments, kAdvice);
    BootOptions result;
    result.help = values.count("help") > 0;
    result.dry_run = values.count("dry-run") > 0;
    if (values.count("config") > 0) {
        apply_config_file(result.config, single_value(values["config"].as<Values>(), "config"));
    }
    if (values.count("cmdline") > 0 && values.count("cmdline-raw") > 0) {
        throw Error{ExitStatus::usage, "cannot use --cmdline and --cmdline-raw together",
                    "the first adds to the default command line, the second replaces it",
                    "leave one of them out"};
    }
    apply_command_line(result, values);
    fill_in_fetched_kernel(result.config);
    return result;
}

namespace {

/// What `hull restore` and `hull serve` have at their ends.
void add_last_options(options::options_description& known) {
    add_jail_options(known);
    known.add_options()  //
        ("timing", options::value<Values>()->zero_tokens(),
         "print on standard error how long each part of the start took")  //
        ("help,h", options::value<Values>()->zero_tokens(), "print this");
}

options::options_description describe_restore() {
    options::options_description known{"Options", 100, 50};
    const auto text = [] { return options::value<Values>(); };
    known.add_options()  //
        ("api-socket", text()->value_name("PATH"),
         "unix socket to control the machine by while it runs (hull ctl)")  //
        ("console", text()->value_name("WHERE"),
         "where the console is now, of the kind that it was: stdio, none or file:PATH, virtio or virtio:…")  //
        ("stop-timeout", text()->value_name("SECONDS"),
         "from the power button (SIGTERM) to the end by force");
    add_last_options(known);
    return known;
}

options::options_description describe_serve() {
    options::options_description known{"Options", 100, 50};
    const auto text = [] { return options::value<Values>(); };
    known.add_options()                                                                    //
        ("api-socket", text()->value_name("PATH"), "unix socket that clients connect to")  //
        ("console", text()->value_name("WHERE"),
         "serial console: stdio (default), none or file:PATH; virtio or virtio:… for hvc0")             //
        ("bus", text()->value_name("KIND"), "how virtio devices are connected: mmio (default) or pci")  //
        ("stop-timeout", text()->value_name("SECONDS"),
         "from the power button (SIGTERM) to the end by force (default 10)");
    add_last_options(known);
    return known;
}

constexpr const char* kServeAdvice = "see 'hull serve --help'";
constexpr const char* kRestoreAdvice = "see 'hull restore --help'";

}  // namespace

MachineConfig config_of(const SnapshotState& state, const std::string& file) {
    MachineConfig config;
    const auto saved = state.section("config");
    apply_config(config, {reinterpret_cast<const char*>(saved.data()), saved.size()}, file);
    config.jail = {};
    config.timing = false;
    return config;
}

BootOptions parse_serve_options(const std::vector<std::string>& arguments) {
    BootOptions result;
    const options::variables_map values = read_command_line(describe_serve(), arguments, kServeAdvice);
    result.help = values.count("help") > 0;
    // What Firecracker gives a guest of which nothing is said, and how it connects devices.
    result.config.memory = uint64_t{128} << 20;
    result.config.bus = VirtioBus::mmio;
    apply_command_line(result, values);
    if (result.api_socket.empty() && !result.help) {
        throw Error{ExitStatus::usage, "cannot serve a machine's API", "no socket was given",
                    "give one (--api-socket PATH)"};
    }
    return result;
}

std::string serve_help() {
    std::ostringstream text;
    text << "Usage: hull serve --api-socket PATH [OPTION…]\n"
            "Waits for a client that says by Firecracker's API what machine it wants, and starts it; the\n"
            "machine's console is on standard input and output. Ends with the machine.\n\n"
         << describe_serve();
    return text.str();
}

RestoreOptions parse_restore_options(const std::vector<std::string>& arguments) {
    RestoreOptions result;
    Values words;
    const options::variables_map values =
        read_command_line(describe_restore(), arguments, kRestoreAdvice, &words);
    result.boot.help = values.count("help") > 0;
    if (result.boot.help) {
        return result;
    }
    if (words.size() != 1) {
        throw Error{ExitStatus::usage, "cannot restore a machine",
                    words.empty() ? "no snapshot was given" : "it is made of one snapshot",
                    "give the folder of one"};
    }
    result.files = SnapshotFiles::in(words.front());
    result.state = SnapshotState::read(result.files.state);
    MachineConfig& config = result.boot.config;
    config = config_of(result.state, result.files.state);
    const bool was_virtio = config.console.virtio;
    apply_command_line(result.boot, values);
    if (config.console.virtio != was_virtio) {
        throw Error{ExitStatus::usage, "cannot use --console '" + config.console.text() + "'",
                    was_virtio ? "the machine's console is virtio's" : "the machine's console is serial",
                    was_virtio ? "give virtio or virtio:…" : "give stdio, none or file:PATH"};
    }
    return result;
}

std::string restore_help() {
    std::ostringstream text;
    text << "Usage: hull restore [OPTION…] FOLDER\n"
            "Goes on with a machine that 'hull ctl SOCKET snapshot FOLDER' has frozen, with its disks and\n"
            "networks, from there on. As often as you like, but only once at a time where it writes to "
            "disks.\n\n"
         << describe_restore();
    return text.str();
}

std::string boot_help() {
    std::ostringstream text;
    text << "Usage: hull boot [OPTION…]\n"
            "Boots a Linux kernel in a virtual machine, with its console on standard input and "
            "output.\n"
            "In a terminal, Ctrl-A x ends the machine and Ctrl-A Ctrl-A sends one Ctrl-A.\n\n"
         << describe()
         << "\nExit status: 0 the guest powered off, 2 wrong options, 3 the host cannot run guests, 4 a bad "
            "file,\n"
            "5 not enough memory, 10 the guest asked for a reset, 11 triple fault, 12 kernel panic, 13 KVM "
            "gave up,\n"
            "14 ended from outside, 15 the machine's process died, 16 a layer of the jail is missing. The "
            "manual page "
            "has more.\n";
    return text.str();
}

}  // namespace hull
