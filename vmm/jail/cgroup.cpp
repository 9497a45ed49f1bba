#include "vmm/jail/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/small_file.h"

namespace hull::jail {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kGroupPrefix = "hull-";
constexpr const char* kKeepersGroup = "hull-keeper";
constexpr const char* kTopGroup = "hull";
constexpr uint32_t kCpuPeriod = 100'000;  // µs, the kernel's own default

std::string read_file(const fs::path& path) {
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

std::string first_line(const fs::path& path) {
    const std::string text = read_file(path);
    return text.substr(0, text.find('\n'));
}

/// Whether `word` is one of those in `list`, which has `separator` between them.
bool has_word(std::string_view list, std::string_view word, char separator) {
    std::istringstream words{std::string{list}};
    for (std::string one; std::getline(words, one, separator);) {
        if (one == word) {
            return true;
        }
    }
    return false;
}

std::string name_in_version_1(const std::string& controller) {
    return controller == "io" ? "blkio" : controller;
}

/// A mount of groups (proc(5), mountinfo).
struct Mount {
    std::string root;
    std::string point;
    std::string type;
    std::string options;  // of the hierarchy
};

/// A space, a tab, a line's end and a backslash stand there as three octal digits behind a backslash.
std::string without_escapes(const std::string& text) {
    std::string plain;
    for (size_t at = 0; at < text.size(); ++at) {
        unsigned char byte = 0;
        const char* digits = text.data() + at + 1;
        if (text[at] == '\\' && text.size() - at > 3 &&
            std::from_chars(digits, digits + 3, byte, 8).ptr == digits + 3) {
            plain += static_cast<char>(byte);
            at += 3;
        } else {
            plain += text[at];
        }
    }
    return plain;
}

std::vector<Mount> find_mounts(const std::string& mounts) {
    std::vector<Mount> found;
    std::istringstream lines{mounts};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        Mount mount;
        std::string word;
        words >> word >> word >> word >> mount.root >> mount.point;
        while (words >> word && word != "-") {
        }
        words >> mount.type >> word >> mount.options;
        if (mount.type == "cgroup" || mount.type == "cgroup2") {
            mount.root = without_escapes(mount.root);
            mount.point = without_escapes(mount.point);
            found.push_back(std::move(mount));
        }
    }
    return found;
}

/// This process's group in one hierarchy (cgroups(7), /proc/pid/cgroup): in that of a controller of version 1
/// or, for "", of version 2.
std::string own_group(const std::string& cgroups, const std::string& controller) {
    std::istringstream lines{cgroups};
    for (std::string line; std::getline(lines, line);) {
        const size_t first = line.find(':');
        const size_t second = line.find(':', first + 1);
        if (second == std::string::npos) {
            continue;
        }
        const std::string list = line.substr(first + 1, second - first - 1);
        if (controller.empty() ? list.empty() : has_word(list, controller, ',')) {
            return line.substr(second + 1);
        }
    }
    return "";
}

Hierarchy at_mount(const Mount& mount, const std::string& group) {
    const std::string root = mount.root == "/" ? "" : mount.root;
    const bool is_below =
        group.starts_with(root) && (group.size() == root.size() || group[root.size()] == '/');
    if (!is_below || group.find("/..") != std::string::npos) {
        return {};  // it lies outside of what is mounted
    }
    std::string rest = group.substr(root.size());
    rest.erase(rest.find_last_not_of('/') + 1);
    return {.mount = mount.point, .own = mount.point + rest, .is_unified = mount.type == "cgroup2"};
}

[[noreturn]] void fail(const std::string& why, const std::string& advice) {
    throw Error{ExitStatus::host_unfit,
                "cannot limit what the machine uses (--cpu-quota, --memory-limit, --pids-limit, --io-limit)",
                why, advice};
}

constexpr const char* kWhoMay =
    "start it as root, or in a group of its own: systemd-run --user --scope -p Delegate=yes hull …";

/// The processes in a group of which only this one and the one that started it may be members, for it to be
/// divided.
std::vector<pid_t> members_to_move(const fs::path& group, bool& may_move) {
    std::ifstream list{group / "cgroup.procs"};
    std::vector<pid_t> members{std::istream_iterator<pid_t>{list}, {}};
    may_move = std::ranges::all_of(members, [](pid_t pid) { return pid == getpid() || pid == getppid(); });
    return members;
}

/// systemd marks what it has handed over to who runs in there, which matters for root alone: others can write
/// to nothing else.
bool is_delegated(const fs::path& group) {
    std::array<char, 2> value{};
    return access((group / "cgroup.subtree_control").c_str(), W_OK) == 0 &&
           (geteuid() != 0 || (getxattr(group.c_str(), "trusted.delegate", value.data(), value.size()) == 1 &&
                               value[0] == '1'));
}

bool hand_down(const fs::path& group, const std::vector<std::string>& controllers) {
    std::string words;
    for (const std::string& controller : controllers) {
        words += (words.empty() ? "+" : " +") + controller;
    }
    return write_file(group / "cgroup.subtree_control", words);
}

/// The group of version 2 in which the machine's is made. A group that has processes cannot have groups with
/// limits below it, but for the one at the top of the host.
fs::path unified_base(const Hierarchy& hierarchy, const std::vector<std::string>& controllers) {
    const bool is_aside = hierarchy.own.filename() == kKeepersGroup;
    fs::path own = is_aside ? hierarchy.own.parent_path() : hierarchy.own;
    if (own != hierarchy.mount && is_delegated(own)) {
        bool may_move = false;
        const std::vector<pid_t> members = members_to_move(own, may_move);
        if (!may_move) {
            fail("other programs run in the group that was delegated ('" + own.string() + "')", kWhoMay);
        }
        mkdir((own / kKeepersGroup).c_str(), 0755);
        for (const pid_t pid : members) {
            write_file(own / kKeepersGroup / "cgroup.procs", std::to_string(pid));
        }
        if (!hand_down(own, controllers)) {
            fail("the group that was delegated ('" + own.string() +
                     "') does not have all that is needed: " + errno_text(errno),
                 "name what is to be delegated, or start it as root");
        }
        return own;
    }
    if (geteuid() != 0) {
        fail("this user may not make a group of processes below '" + own.string() + "'", kWhoMay);
    }
    fs::path top = hierarchy.mount / kTopGroup;
    if (!hand_down(hierarchy.mount, controllers) || (mkdir(top.c_str(), 0755) != 0 && errno != EEXIST) ||
        !hand_down(top, controllers)) {
        fail("no group of processes can be made in '" + hierarchy.mount.string() + "': " + errno_text(errno),
             "in a container, give it a tree of groups that it may write to");
    }
    return top;
}

/// What keepers left that were killed.
void sweep(const fs::path& base) {
    std::error_code ignored;
    for (const auto& group : fs::directory_iterator{base, ignored}) {
        const std::string name = group.path().filename();
        pid_t keeper = 0;
        if (name.starts_with(kGroupPrefix) &&
            std::from_chars(name.data() + kGroupPrefix.size(), name.data() + name.size(), keeper).ptr ==
                name.data() + name.size() &&
            kill(keeper, 0) != 0 && errno == ESRCH) {
            rmdir(group.path().c_str());
        }
    }
}

/// The disk that a file is, or lies on; partitions have no limits of their own.
dev_t whole_disk(int file) {
    struct stat info {};
    fstat(file, &info);
    const dev_t device = S_ISBLK(info.st_mode) ? info.st_rdev : info.st_dev;
    const fs::path itself =
        "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
    std::error_code error;
    const fs::path folder = fs::canonical(itself, error);
    if (error) {
        return 0;
    }
    const bool is_partition = fs::exists(folder / "partition", error);
    std::ifstream numbers{(is_partition ? folder.parent_path() : folder) / "dev"};
    unsigned high = 0;
    unsigned low = 0;
    char colon = 0;
    numbers >> high >> colon >> low;
    return numbers ? makedev(high, low) : 0;
}

}  // namespace

Hierarchy find_hierarchy(const std::string& controller, const std::string& cgroups,
                         const std::string& mounts) {
    const std::string old_name = name_in_version_1(controller);
    const std::vector<Mount> found = find_mounts(mounts);
    for (const Mount& mount : found) {
        if (mount.type == "cgroup" && has_word(mount.options, old_name, ',')) {
            return at_mount(mount, own_group(cgroups, old_name));
        }
    }
    for (const Mount& mount : found) {
        if (mount.type == "cgroup2") {
            return at_mount(mount, own_group(cgroups, ""));
        }
    }
    return {};
}

Cgroup::Cgroup(const LimitsConfig& limits) {
    std::vector<std::string> needed;
    for (const auto& [is_needed, controller] :
         {std::pair{limits.cpu != 0, "cpu"}, std::pair{limits.pids != 0, "pids"},
          // With the memory's controller the kernel knows whose writes those are that it does later.
          std::pair{limits.memory != 0 || limits.io.has_value(), "memory"},
          std::pair{limits.io.has_value(), "io"}}) {
        if (is_needed) {
            needed.emplace_back(controller);
        }
    }
    try {
        make(needed);
        set(limits);
    } catch (...) {
        remove();
        throw;
    }
}

Cgroup::~Cgroup() {
    remove();
}

void Cgroup::make(const std::vector<std::string>& controllers) {
    const std::string cgroups = read_file("/proc/self/cgroup");
    const std::string mounts = read_file("/proc/self/mountinfo");
    Hierarchy unified;
    std::vector<std::string> in_unified;
    std::map<fs::path, std::vector<std::string>> by_base;
    for (const std::string& controller : controllers) {
        const Hierarchy hierarchy = find_hierarchy(controller, cgroups, mounts);
        if (hierarchy.own.empty() ||
            (hierarchy.is_unified &&
             !has_word(first_line(hierarchy.mount / "cgroup.controllers"), controller, ' '))) {
            fail("the host has no groups with the controller '" + controller + "', or none that can be seen",
                 "mount cgroup2 on /sys/fs/cgroup, with a kernel that has this controller");
        }
        if (hierarchy.is_unified) {
            unified = hierarchy;
            in_unified.push_back(controller);
        } else {
            by_base[hierarchy.own].push_back(controller);
        }
    }
    if (!in_unified.empty()) {
        by_base[unified_base(unified, in_unified)] = in_unified;
    }
    for (const auto& [base, its] : by_base) {
        sweep(base);
        const fs::path path = base / (std::string{kGroupPrefix} + std::to_string(getpid()));
        int made = mkdir(path.c_str(), 0755);
        if (made != 0 && errno == ENOENT && its == in_unified) {
            // Another keeper has just removed the group at the top, as the last that had one in it.
            unified_base(unified, in_unified);
            made = mkdir(path.c_str(), 0755);
        }
        if (made != 0) {
            const int cause = errno;
            fail("no group of processes can be made in '" + base.string() + "': " + errno_text(cause),
                 kWhoMay);
        }
        groups_.push_back(
            {.path = path,
             .is_unified = its == in_unified,
             .controllers = its,
             .processes = UniqueFd{open((path / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)}});
        if (!groups_.back().processes.valid()) {
            fail("no process can be put into '" + path.string() + "': " + errno_text(errno), kWhoMay);
        }
    }
}

const Cgroup::Group& Cgroup::group_for(const std::string& controller) const {
    return *std::ranges::find_if(
        groups_, [&](const Group& group) { return std::ranges::count(group.controllers, controller) != 0; });
}

void Cgroup::write(const Group& group, const std::string& file, const std::string& text) {
    if (!write_file(group.path / file, text)) {
        fail("'" + text + "' cannot be written to '" + (group.path / file).string() +
                 "': " + errno_text(errno),
             "does the kernel have this limit?");
    }
}

void Cgroup::set(const LimitsConfig& limits) {
    if (limits.cpu != 0) {
        const Group& group = group_for("cpu");
        const std::string quota = std::to_string(uint64_t{limits.cpu} * kCpuPeriod / 1000);
        if (group.is_unified) {
            write(group, "cpu.max", quota + " " + std::to_string(kCpuPeriod));
        } else {
            write(group, "cpu.cfs_period_us", std::to_string(kCpuPeriod));
            write(group, "cpu.cfs_quota_us", quota);
        }
    }
    if (limits.memory != 0) {
        const Group& group = group_for("memory");
        write(group, group.is_unified ? "memory.max" : "memory.limit_in_bytes",
              std::to_string(limits.memory));
    }
    if (limits.pids != 0) {
        write(group_for("pids"), "pids.max", std::to_string(limits.pids));
    }
}

void Cgroup::limit_io(const IoLimit& limit, int file, const std::string& name) {
    const dev_t disk = whole_disk(file);
    if (disk == 0) {
        fail("'" + name +
                 "' lies on no disk of the host's that the kernel can limit (a file system in memory, "
                 "of a network or of several disks)",
             "leave --io-limit out (--disk has iops= and bps=), or move the file");
    }
    const Group& group = group_for("io");
    const std::string device = std::to_string(major(disk)) + ":" + std::to_string(minor(disk));
    for (const auto& [value, key, old_file] :
         {std::tuple{limit.read_bytes, "rbps", "blkio.throttle.read_bps_device"},
          std::tuple{limit.write_bytes, "wbps", "blkio.throttle.write_bps_device"},
          std::tuple{uint64_t{limit.reads}, "riops", "blkio.throttle.read_iops_device"},
          std::tuple{uint64_t{limit.writes}, "wiops", "blkio.throttle.write_iops_device"}}) {
        if (value != 0) {
            std::string line = device + " ";
            if (group.is_unified) {
                line.append(key).append("=");
            }
            line += std::to_string(value);
            write(group, group.is_unified ? "io.max" : old_file, line);
        }
    }
}

bool Cgroup::enter() const {
    return std::ranges::all_of(groups_, [](const Group& group) {
        return ::write(group.processes.get(), "0", 1) == 1;  // the process that writes
    });
}

bool Cgroup::ran_out_of_memory() const {
    return std::ranges::any_of(groups_, [](const Group& group) {
        std::ifstream events{group.path / (group.is_unified ? "memory.events" : "memory.oom_control")};
        std::string name;
        uint64_t count = 0;
        while (events >> name >> count) {
            if (name == "oom_kill" && count > 0) {
                return true;
            }
        }
        return false;
    });
}

void Cgroup::remove() {
    // The kernel may not yet have taken out of it what has just been waited for.
    constexpr int kTries = 200;
    for (const Group& group : groups_) {
        for (int tries = 0; rmdir(group.path.c_str()) != 0 && errno == EBUSY && tries < kTries; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{5});
        }
        if (group.path.parent_path().filename() == kTopGroup) {
            rmdir(group.path.parent_path().c_str());  // unless other machines' groups are in there
        }
    }
    groups_.clear();
}

}  // namespace hull::jail
