#include "container/machine/container_guest.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "container/machine/container_machine.h"

namespace hull::container {

namespace {

// In the guest, outside of the container's root. Short ones, since an overlay's options, with the places of
// all layers in them, are a page at most.
constexpr const char* kRoot = "/r";
constexpr const char* kWritable = "/w";
constexpr const char* kUpper = "/w/u";
constexpr const char* kBase = "/b";  // all layers, without what was written
constexpr const char* kLayers = "/l/";
constexpr const char* kGroups = "/c";
constexpr const char* kGroup = "/c/container";
constexpr const char* kNoLimit = "max";
constexpr const char* kProc = "/p";
constexpr const char* kSockets = "/s";

constexpr uint32_t kLoopback = 0x7f00'0001;

/// As Docker's.
constexpr const char* kHidden[] = {"/proc/asound",
                                   "/proc/acpi",
                                   "/proc/kcore",
                                   "/proc/keys",
                                   "/proc/latency_stats",
                                   "/proc/timer_list",
                                   "/proc/timer_stats",
                                   "/proc/sched_debug",
                                   "/proc/scsi",
                                   "/sys/firmware",
                                   "/sys/devices/virtual/powercap"};
constexpr const char* kUnwritable[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                       "/proc/sysrq-trigger"};

/// What resolv.conf is to be.
std::string resolver_file(const ContainerConfig& config) {
    std::string text;
    const auto add_line = [&](const char* word, const std::vector<std::string>& values) {
        if (!values.empty()) {
            text += word;
            for (const std::string& value : values) {
                text += " " + value;
            }
            text += "\n";
        }
    };
    add_line("search", config.search_domains);
    std::vector<std::string> servers = config.name_servers;
    std::vector<std::string> options = config.resolver_options;
    if (config.has_names) {
        servers = {address_text(ContainerConfig::kNames)};
        // As Docker: a name without a dot is a container's before it is one of the host's domain.
        if (std::ranges::none_of(options, [](const auto& each) { return each.starts_with("ndots:"); })) {
            options.emplace_back("ndots:0");
        }
    } else if (servers.empty()) {
        servers = {user_network::kNameServerText};
    }
    for (const std::string& server : servers) {
        add_line("nameserver", {server});
    }
    add_line("options", options);
    return text;
}

/// Of "02:42:ac:11:00:02".
std::vector<uint8_t> bytes_of_mac(const std::string& text) {
    std::vector<uint8_t> bytes;
    for (size_t at = 0; at + 2 <= text.size(); at += 3) {
        uint8_t byte = 0;
        std::from_chars(&text[at], &text[at] + 2, byte, 16);
        bytes.push_back(byte);
    }
    return bytes;
}

using By = SharedMount::By;

/// Where the guest has what is shared with it.
const char* share_folder(By by) {
    constexpr std::array kFolders{"/v", "/vc", "/vd"};
    return kFolders.at(static_cast<size_t>(by));
}

/// A part has the number that it has in its share, and so have disks.
std::string place_of(const ContainerConfig& config, size_t shared) {
    const By by = config.shared[shared].by;
    const auto before = std::span{config.shared}.first(shared);
    return std::string{share_folder(by)} + "/" +
           std::to_string(1 + std::ranges::count(before, by, &SharedMount::by));
}

/// Where the files are that the container is to see: below the root of a disk there is more.
std::string files_of(const ContainerConfig& config, size_t shared) {
    return place_of(config, shared) + (config.shared[shared].by == By::disk ? "/files" : "");
}

}  // namespace

void ContainerGuest::request(agent::Type type, const std::string& what, const AgentClient::Fill& fill) {
    if (!client_.request(type, kFirstSetUp + static_cast<uint32_t>(set_up_.size()), fill)) {
        too_large_ = "what the guest is to be told of '" + what + "' is more than " +
                     std::to_string(agent::kMostRequest >> 10) + " KiB";
    }
    set_up_.push_back(what);
}

void ContainerGuest::mount(const std::string& kind, const std::string& source, const std::string& path,
                           uint64_t flags, const std::string& options, const char* root) {
    request(agent::kMount, path, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kKind, kind.c_str());
        frame.add_text(agent::kSource, source.c_str());
        frame.add_text(agent::kPath, path.c_str());
        frame.add_number(agent::kFlags, flags);
        frame.add_text(agent::kOptions, options.c_str());
        if (root != nullptr) {
            frame.add_text(agent::kRoot, root);
        }
    });
}

void ContainerGuest::make_folder(const std::string& path, const char* root) {
    request(agent::kFolder, path, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kPath, path.c_str());
        if (root != nullptr) {
            frame.add_text(agent::kRoot, root);
        }
    });
}

void ContainerGuest::make_file(const std::string& path, const std::string& content, const char* root) {
    request(agent::kFile, path, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kPath, path.c_str());
        frame.add_number(agent::kMode, 0644);
        frame.add_bytes(agent::kContent, content.data(), content.size());
        frame.add_text(agent::kRoot, root);
    });
}

void ContainerGuest::write_to(const std::string& path, const std::string& content) {
    request(agent::kFile, path, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kPath, path.c_str());
        frame.add_bytes(agent::kContent, content.data(), content.size());
    });
}

void ContainerGuest::set_address(const char* interface, uint64_t address, uint64_t prefix, uint64_t gateway) {
    request(agent::kAddress, interface, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kSource, interface);
        frame.add_number(agent::kIp, address);
        frame.add_number(agent::kPrefix, prefix);
        frame.add_number(agent::kGateway, gateway);
    });
}

/// All in one go: what the agent has done it does not answer, and what it cannot do it tells.
std::vector<std::pair<std::string, std::string>> group_limits(const GroupLimits& limits) {
    constexpr double kPeriod = 100'000;  // microseconds
    const auto quota = [&] { return std::to_string(std::lround(*limits.cpus * kPeriod)); };
    return {{"memory.max", limits.memory ? std::to_string(*limits.memory) : kNoLimit},
            {"memory.low", std::to_string(limits.kept_memory.value_or(0))},
            {"cpu.max", limits.cpus ? quota() + " " + std::to_string(std::lround(kPeriod)) : kNoLimit},
            {"pids.max", limits.processes ? std::to_string(*limits.processes) : kNoLimit}};
}

std::string ContainerGuest::prepare() {
    limit_resources();
    mount_layers();
    mount_shared();
    fill_dev();
    mount_rest();
    write_files();
    mount_users();
    mount_sockets();
    set_up_network();
    set_up_names();
    return too_large_;
}

std::string ContainerGuest::prepare_root() {
    mount_layers();
    mount_shared();
    mount_users();
    return too_large_;
}

void ContainerGuest::limit_resources() {
    mount("cgroup2", "cgroup", kGroups, MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
    write_to(std::string{kGroups} + "/cgroup.subtree_control", "+cpu +memory +pids");
    make_folder(kGroup);
    for (const auto& [name, value] : group_limits(config_.group)) {
        if (value != kNoLimit && value != "0") {  // as they are in a new group
            write_to(std::string{kGroup} + "/" + name, value);
        }
    }
}

void ContainerGuest::mount_layers() {
    mount("ext4", "/dev/vda", kWritable, 0, "");
    make_folder(kUpper);
    make_folder(std::string{kWritable} + "/w");
    for (size_t layer = 1; layer <= layers_; ++layer) {
        const std::string number = std::to_string(layer);
        mount("erofs", "/dev/vdb" + number, kLayers + number, MS_RDONLY, "");
        lower_.insert(0, kLayers + number + (lower_.empty() ? "" : ":"));  // the topmost comes first
    }
    if (layers_ == 0) {
        lower_ = std::string{kLayers} + "0";
        make_folder(lower_);
    }
    mount("overlay", "overlay", kRoot, 0,
          "lowerdir=" + lower_ + ",upperdir=" + kUpper + ",workdir=" + kWritable + "/w");
}

/// Where the container does not see it; and what volumes get of the image before anything is mounted over
/// that.
void ContainerGuest::mount_shared() {
    for (const By by : {By::share, By::cached_share}) {
        if (std::ranges::find(config_.shared, by, &SharedMount::by) != config_.shared.end()) {
            mount("virtiofs", ContainerMachine::share_tag(by), share_folder(by), MS_NODEV, "");
        }
    }
    for (size_t index = 0; index < config_.shared.size(); ++index) {
        const SharedMount& shared = config_.shared[index];
        if (shared.by == By::disk) {
            // Its tables of inodes are holes, which are zeros already.
            mount("ext4", "/dev/" + ContainerMachine::disk_name(config_, layers_, index),
                  place_of(config_, index), MS_NODEV, "discard,noinit_itable");
            make_folder(files_of(config_, index));
        }
        if (shared.is_filled) {
            request(agent::kCopyUp, shared.target, [&](agent::FrameWriter& frame) {
                frame.add_text(agent::kSource, files_of(config_, index).c_str());
                frame.add_text(agent::kPath, shared.target.c_str());
                frame.add_text(agent::kRoot, kRoot);
            });
        }
    }
}

void ContainerGuest::bind(const std::string& source, const std::string& target, uint64_t flags) {
    request(agent::kBind, target, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kSource, source.c_str());
        frame.add_text(agent::kPath, target.c_str());
        frame.add_text(agent::kRoot, kRoot);
        frame.add_number(agent::kFlags, flags);
    });
}

/// The agent listens outside of the root, so that no folder of the host's gets a socket of the guest's.
void ContainerGuest::mount_sockets() {
    if (!config_.sockets.empty()) {
        make_folder(kSockets);
    }
    for (const SharedSocket& socket : config_.sockets) {
        const std::string place = std::string{kSockets} + "/" + std::to_string(sockets_.size());
        sockets_.push_back(kFirstSetUp + static_cast<uint32_t>(set_up_.size()));
        request(agent::kRelaySocket, socket.target, [&](agent::FrameWriter& frame) {
            frame.add_text(agent::kPath, place.c_str());
            frame.add_number(agent::kMode, socket.mode);
        });
        bind(place, socket.target, MS_NODEV);
    }
}

const SharedSocket* ContainerGuest::socket_of(uint32_t number) const {
    const auto found = std::ranges::find(sockets_, number);
    return found == sockets_.end() ? nullptr
                                   : &config_.sockets[static_cast<size_t>(found - sockets_.begin())];
}

bool ContainerGuest::is_in_shared(const TmpfsMount& tmpfs) const {
    return std::ranges::any_of(config_.shared, [&](const SharedMount& shared) {
        return tmpfs.path.starts_with(shared.target + "/");
    });
}

void ContainerGuest::mount_tmpfs(const TmpfsMount& tmpfs) {
    mount("tmpfs", "tmpfs", tmpfs.path, tmpfs.flags, tmpfs.options, kRoot);
}

/// What is shared and what is mounted in that, the outer ones first. Behind all that is written into the
/// root, nothing of which is to come into the host's folders.
void ContainerGuest::mount_users() {
    struct Mount {
        std::ptrdiff_t depth;
        const TmpfsMount* tmpfs;  // or null
        size_t shared;
    };
    std::vector<Mount> all;
    for (const TmpfsMount& each : config_.tmpfs) {
        if (is_in_shared(each)) {
            all.push_back({std::ranges::count(each.path, '/'), &each, 0});
        }
    }
    for (size_t index = 0; index < config_.shared.size(); ++index) {
        all.push_back({std::ranges::count(config_.shared[index].target, '/'), nullptr, index});
    }
    std::ranges::stable_sort(all, {}, &Mount::depth);
    for (const Mount& each : all) {
        if (each.tmpfs != nullptr) {
            mount_tmpfs(*each.tmpfs);
        } else {
            const SharedMount& shared = config_.shared[each.shared];
            bind(files_of(config_, each.shared), shared.target,
                 MS_NODEV | (shared.is_read_only ? MS_RDONLY : 0));
        }
    }
}

void ContainerGuest::fill_dev() {
    mount("tmpfs", "tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k", kRoot);
    constexpr struct {
        const char* path;
        unsigned major;
        unsigned minor;
    } kNodes[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                  {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
    for (const auto& node : kNodes) {
        request(agent::kNode, node.path, [&](agent::FrameWriter& frame) {
            frame.add_text(agent::kPath, node.path);
            frame.add_number(agent::kMode, S_IFCHR | 0666);
            frame.add_number(agent::kDevice, makedev(node.major, node.minor));
            frame.add_text(agent::kRoot, kRoot);
        });
    }
    constexpr struct {
        const char* path;
        const char* target;
    } kLinks[] = {{"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
                  {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
                  {"/dev/core", "/proc/kcore"},       {"/dev/ptmx", "pts/ptmx"}};
    for (const auto& link : kLinks) {
        request(agent::kLink, link.path, [&](agent::FrameWriter& frame) {
            frame.add_text(agent::kPath, link.path);
            frame.add_text(agent::kTarget, link.target);
            frame.add_text(agent::kRoot, kRoot);
        });
    }
    mount("devpts", "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5",
          kRoot);
    mount("tmpfs", "shm", "/dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC,
          "mode=1777,size=" + std::to_string(config_.shm_size), kRoot);
}

void ContainerGuest::mount_rest() {
    mount("sysfs", "sysfs", "/sys",
          MS_NOSUID | MS_NODEV | MS_NOEXEC | (config_.is_privileged ? 0 : MS_RDONLY), "", kRoot);
    for (const TmpfsMount& each : config_.tmpfs) {
        if (!is_in_shared(each)) {
            mount_tmpfs(each);
        }
    }
}

std::string ContainerGuest::hosts_file() const {
    std::string hosts =
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
        "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
    const bool is_on_bridge = !config_.endpoints.empty();
    const Endpoint* const out = config_.way_out();
    const std::string gateway = out != nullptr ? address_text(out->gateway)
                                : is_on_bridge ? address_text(config_.endpoints.front().gateway)
                                               : user_network::kGatewayText;
    for (const std::string& line : config_.extra_hosts) {
        constexpr std::string_view kWord = ContainerConfig::kHostGateway;
        hosts += line.starts_with(kWord) ? gateway + line.substr(kWord.size()) : line;
        hosts += "\n";
    }
    const std::string own = "\t" + config_.host_name + "\n";
    for (const Endpoint& endpoint : config_.endpoints) {
        hosts += address_text(endpoint.address) + own;
    }
    return hosts + (config_.has_network && !is_on_bridge ? user_network::kGuestText + own : "");
}

void ContainerGuest::write_files() {
    make_folder("/etc", kRoot);
    make_file("/etc/hostname", config_.host_name + "\n", kRoot);
    if (config_.has_network) {
        make_file("/etc/resolv.conf", resolver_file(config_), kRoot);
    }
    make_file("/etc/hosts", hosts_file(), kRoot);
}

void ContainerGuest::set_up_network() {
    set_address("lo", kLoopback, 8, 0);
    for (size_t number = 0; number < config_.endpoints.size(); ++number) {
        const Endpoint& endpoint = config_.endpoints[number];
        set_address(("eth" + std::to_string(number)).c_str(), endpoint.address, endpoint.prefix,
                    endpoint.is_way_out ? endpoint.gateway : 0);
    }
    if (config_.has_network && config_.endpoints.empty()) {
        set_address("eth0", user_network::kGuest, user_network::kPrefix, user_network::kGateway);
    }
    // As Docker: what any user may do in a container.
    mount("proc", "proc", kProc, MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
    write_to(std::string{kProc} + "/sys/net/ipv4/ip_unprivileged_port_start", "0");
    write_to(std::string{kProc} + "/sys/net/ipv4/ping_group_range", "0 2147483647");
    for (const std::string& setting : config_.sysctls) {
        const size_t sign = setting.find('=');
        std::string path = setting.substr(0, sign);
        std::ranges::replace(path, '.', '/');
        write_to(kProc + ("/sys/" + path), setting.substr(sign + 1));
    }
}

/// Not at the port itself, which a container may have that resolves names, too.
void ContainerGuest::set_up_names() {
    if (!config_.has_names) {
        return;
    }
    constexpr uint64_t kPort = 53;
    names_ = kFirstSetUp + static_cast<uint32_t>(set_up_.size());
    request(agent::kRelayPort, address_text(ContainerConfig::kNames), [&](agent::FrameWriter& frame) {
        frame.add_number(agent::kIp, ContainerConfig::kNames);
        frame.add_number(agent::kPortNumber, kPort);
        frame.add_text(agent::kGroup, kGroup);
    });
}

bool ContainerGuest::run_command(const AgentClient::Fill& terminal) {
    return client_.request(agent::kRun, kCommand, [&](agent::FrameWriter& frame) {
        add_program(frame, config_.command, config_.environment);
        frame.add_text(agent::kRoot, kRoot);
        frame.add_text(agent::kPath, config_.working_folder.c_str());
        frame.add_number(agent::kNamespaces,
                         CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP);
        frame.add_text(agent::kHostName, config_.host_name.c_str());
        frame.add_number(agent::kInit, config_.has_init ? 1 : 0);
        add_rights(frame, config_.user, config_.capabilities);
        if (!config_.is_privileged) {
            for (const char* path : kHidden) {
                frame.add_text(agent::kHidden, path);
            }
            for (const char* path : kUnwritable) {
                frame.add_text(agent::kUnwritable, path);
            }
        }
        if (config_.is_read_only) {
            frame.add_text(agent::kUnwritable, "/");
        }
        terminal(frame);
    });
}

bool ContainerGuest::run_further(uint32_t number, const ExecConfig& exec, const AgentClient::Fill& terminal) {
    return client_.request(agent::kRun, number, [&](agent::FrameWriter& frame) {
        add_program(frame, exec.command, exec.environment);
        frame.add_text(agent::kPath,
                       (exec.working_folder.empty() ? config_.working_folder : exec.working_folder).c_str());
        frame.add_number(agent::kJoined, kCommand);
        add_rights(frame, exec.user.empty() ? config_.user : exec.user,
                   exec.is_privileged ? ~uint64_t{0} : config_.capabilities);
        terminal(frame);
    });
}

void ContainerGuest::add_program(agent::FrameWriter& frame, const std::vector<std::string>& command,
                                 const std::vector<std::string>& environment) {
    for (const std::string& word : command) {
        frame.add_text(agent::kArgument, word.c_str());
    }
    for (const std::string& variable : environment) {
        frame.add_text(agent::kEnvironment, variable.c_str());
    }
}

void ContainerGuest::add_rights(agent::FrameWriter& frame, const std::string& user,
                                uint64_t capabilities) const {
    frame.add_text(agent::kGroup, kGroup);
    frame.add_text(agent::kUser, user.empty() ? "0" : user.c_str());
    frame.add_number(agent::kCapabilities, capabilities);
    frame.add_number(agent::kNoNewPrivileges, config_.no_new_privileges ? 1 : 0);
    // As Docker's daemon has them by itself; what is said later counts.
    constexpr uint64_t kMostFiles = 1 << 20;
    std::vector<ProcessLimit> limits{{RLIMIT_NOFILE, kMostFiles, kMostFiles},
                                     {RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY}};
    for (const ProcessLimit& each : config_.limits) {
        std::erase_if(limits, [&](const ProcessLimit& other) { return other.resource == each.resource; });
        limits.push_back(each);
    }
    for (const ProcessLimit& each : limits) {
        std::vector<uint8_t> bytes(3 * sizeof(uint64_t));
        size_t at = 0;
        for (const uint64_t value : {uint64_t{each.resource}, each.soft, each.hard}) {
            agent::store_word(&bytes[at], static_cast<uint32_t>(value));
            agent::store_word(&bytes[at + 4], static_cast<uint32_t>(value >> 32));
            at += sizeof value;
        }
        frame.add_bytes(agent::kLimit, bytes.data(), bytes.size());
    }
}

void ContainerGuest::plug(uint32_t made, uint32_t addressed, const std::string& interface,
                          const Endpoint& endpoint) {
    const std::vector<uint8_t> mac = bytes_of_mac(endpoint.mac);
    client_.request(agent::kPlug, made, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kSource, interface.c_str());
        frame.add_bytes(agent::kContent, mac.data(), mac.size());
    });
    set_address(addressed, interface, endpoint);
}

void ContainerGuest::unplug(uint32_t number, const std::string& interface) {
    client_.request(agent::kUnplug, number,
                    [&](agent::FrameWriter& frame) { frame.add_text(agent::kSource, interface.c_str()); });
}

void ContainerGuest::set_address(uint32_t number, const std::string& interface, const Endpoint& endpoint) {
    client_.request(agent::kAddress, number, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kSource, interface.c_str());
        frame.add_number(agent::kIp, endpoint.address);
        frame.add_number(agent::kPrefix, endpoint.prefix);
        frame.add_number(agent::kGateway, endpoint.is_way_out ? endpoint.gateway : 0);
    });
}

void ContainerGuest::write_hosts() {
    replace_file("/etc/hosts", hosts_file());
}

void ContainerGuest::begin_names() {
    set_up_names();
    replace_file("/etc/resolv.conf", resolver_file(config_));
}

/// As make_file() in the root, unless something is mounted there.
void ContainerGuest::replace_file(const char* path, const std::string& content) {
    constexpr uint32_t kNobodys = 0;  // whether it fails
    client_.request(agent::kFile, kNobodys, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kPath, path);
        frame.add_number(agent::kMode, 0644);
        frame.add_bytes(agent::kContent, content.data(), content.size());
        frame.add_text(agent::kRoot, kRoot);
    });
}

void ContainerGuest::read_group(uint32_t number, const std::string& file) {
    read(number, std::string{kGroup} + "/" + file);
}

void ContainerGuest::read_proc(uint32_t number, const std::string& file) {
    read(number, std::string{kProc} + "/" + file);
}

void ContainerGuest::read(uint32_t number, const std::string& path) {
    client_.request(agent::kRead, number,
                    [&](agent::FrameWriter& frame) { frame.add_text(agent::kPath, path.c_str()); });
}

void ContainerGuest::write_group(uint32_t number, const std::string& file, const std::string& content) {
    const std::string path = std::string{kGroup} + "/" + file;
    client_.request(agent::kFile, number, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kPath, path.c_str());
        frame.add_bytes(agent::kContent, content.data(), content.size());
    });
}

void ContainerGuest::transfer(uint32_t number, const ContentsQuestion& question) {
    using What = ContentsQuestion::What;
    const auto ask = [&](agent::Type type, const char* path, const char* root, uint64_t flags) {
        client_.request(type, number, [&](agent::FrameWriter& frame) {
            frame.add_text(agent::kPath, path);
            frame.add_text(type == agent::kCompare ? agent::kSource : agent::kRoot, root);
            if (type == agent::kPack || type == agent::kUnpack) {
                frame.add_number(agent::kFlags, flags);
            }
            if (type == agent::kUnpack && !question.user.empty()) {
                frame.add_text(agent::kUser, question.user.c_str());
            }
        });
    };
    const char* const path = question.path.c_str();
    switch (question.what) {
        case What::status:
            return ask(agent::kLook, path, kRoot, 0);
        case What::files:
            return ask(agent::kPack, path, kRoot, question.flags);
        case What::upper:
            return ask(agent::kPack, "/", kUpper, agent::kAllLinks);
        case What::unpack:
            return ask(agent::kUnpack, path, kRoot, question.flags);
        case What::changes:
            break;
    }
    // The layers beside what was written over them. Of one there is nothing to join.
    if (layers_ > 1 && !std::exchange(has_base_, true)) {
        client_.request(agent::kMount, number, [&](agent::FrameWriter& frame) {
            frame.add_text(agent::kKind, "overlay");
            frame.add_text(agent::kSource, "overlay");
            frame.add_text(agent::kPath, kBase);
            frame.add_number(agent::kFlags, MS_RDONLY);
            frame.add_text(agent::kOptions, ("lowerdir=" + lower_).c_str());
        });
    }
    ask(agent::kCompare, kUpper, layers_ > 1 ? kBase : lower_.c_str(), 0);
}

std::string ContainerGuest::what_failed(uint32_t number, int error, const std::string& what) const {
    if (number < kFirstSetUp || number - kFirstSetUp >= set_up_.size()) {
        return "";
    }
    return "the agent fails " + what + ", '" + set_up_[number - kFirstSetUp] + "': " + errno_text(error);
}

}  // namespace hull::container
