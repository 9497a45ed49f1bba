#include "container/machine/container_config.h"

#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "vmm/machine/option_text.h"

namespace hull::container {

namespace {

/// By number (linux/capability.h).
constexpr std::array kCapabilityNames{"CHOWN",
                                      "DAC_OVERRIDE",
                                      "DAC_READ_SEARCH",
                                      "FOWNER",
                                      "FSETID",
                                      "KILL",
                                      "SETGID",
                                      "SETUID",
                                      "SETPCAP",
                                      "LINUX_IMMUTABLE",
                                      "NET_BIND_SERVICE",
                                      "NET_BROADCAST",
                                      "NET_ADMIN",
                                      "NET_RAW",
                                      "IPC_LOCK",
                                      "IPC_OWNER",
                                      "SYS_MODULE",
                                      "SYS_RAWIO",
                                      "SYS_CHROOT",
                                      "SYS_PTRACE",
                                      "SYS_PACCT",
                                      "SYS_ADMIN",
                                      "SYS_BOOT",
                                      "SYS_NICE",
                                      "SYS_RESOURCE",
                                      "SYS_TIME",
                                      "SYS_TTY_CONFIG",
                                      "MKNOD",
                                      "LEASE",
                                      "AUDIT_WRITE",
                                      "AUDIT_CONTROL",
                                      "SETFCAP",
                                      "MAC_OVERRIDE",
                                      "MAC_ADMIN",
                                      "SYSLOG",
                                      "WAKE_ALARM",
                                      "BLOCK_SUSPEND",
                                      "AUDIT_READ",
                                      "PERFMON",
                                      "BPF",
                                      "CHECKPOINT_RESTORE"};

constexpr uint64_t kAllCapabilities = (uint64_t{1} << kCapabilityNames.size()) - 1;

/// The bits of a name that an option gives.
uint64_t capability(const std::string& name, const char* option) {
    const std::optional<uint64_t> bits = capability_bits(name);
    if (!bits) {
        refuse_option(option, name, "there is no such capability",
                      "give one of capabilities(7), such as NET_ADMIN, or ALL");
    }
    return *bits;
}

struct NamedLimit {
    std::string_view name;
    uint32_t resource;
};

constexpr NamedLimit kLimits[] = {
    {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},         {"fsize", RLIMIT_FSIZE},
    {"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
    {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
    {"rss", RLIMIT_RSS},           {"rtprio", RLIMIT_RTPRIO},
    {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

uint64_t parse_limit(std::string_view number, const std::string& whole) {
    if (number == "-1") {
        return RLIM_INFINITY;
    }
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc{} || end != number.data() + number.size()) {
        refuse_option("--ulimit", whole, "a limit is no number", "give NAME=SOFT[:HARD], -1 for none");
    }
    return value;
}

struct NamedFlag {
    std::string_view name;
    uint64_t set;
    uint64_t cleared;
};

constexpr NamedFlag kFlags[] = {
    {"ro", MS_RDONLY, 0},     {"rw", 0, MS_RDONLY},        {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},   {"nodev", MS_NODEV, 0},      {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0}, {"exec", 0, MS_NOEXEC},      {"noatime", MS_NOATIME, 0},
    {"atime", 0, MS_NOATIME}, {"sync", MS_SYNCHRONOUS, 0}, {"async", 0, MS_SYNCHRONOUS},
};

constexpr std::string_view kOptions[] = {"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"};

std::string_view name_of(std::string_view variable) {
    return variable.substr(0, variable.find('='));
}

/// In the place of one of that name, or behind the others; without a value takes it away.
void set_variable(std::vector<std::string>& environment, const std::string& variable) {
    const auto found = std::ranges::find(environment, name_of(variable), name_of);
    const bool has_value = variable.find('=') != std::string::npos;
    if (found == environment.end()) {
        if (has_value) {
            environment.push_back(variable);
        }
    } else if (has_value) {
        *found = variable;
    } else {
        environment.erase(found);
    }
}

}  // namespace

std::optional<uint64_t> capability_bits(std::string name) {
    std::ranges::transform(name, name.begin(), [](unsigned char byte) {
        return byte >= 'a' && byte <= 'z' ? static_cast<char>(byte - ('a' - 'A')) : static_cast<char>(byte);
    });
    if (name == "ALL") {
        return kAllCapabilities;
    }
    if (name.starts_with("CAP_")) {
        name.erase(0, 4);
    }
    const auto* const found = std::ranges::find(kCapabilityNames, std::string_view{name});
    if (found == kCapabilityNames.end()) {
        return std::nullopt;
    }
    return uint64_t{1} << (found - kCapabilityNames.begin());
}

uint64_t change_capabilities(uint64_t capabilities, const std::vector<std::string>& added,
                             const std::vector<std::string>& dropped) {
    // Docker's order: what is dropped by name is not added back by ALL, nor the other way round.
    uint64_t all_added = 0;
    uint64_t named_added = 0;
    uint64_t all_dropped = 0;
    uint64_t named_dropped = 0;
    for (const std::string& name : added) {
        const uint64_t bits = capability(name, "--cap-add");
        (bits == kAllCapabilities ? all_added : named_added) |= bits;
    }
    for (const std::string& name : dropped) {
        const uint64_t bits = capability(name, "--cap-drop");
        (bits == kAllCapabilities ? all_dropped : named_dropped) |= bits;
    }
    if (all_dropped != 0) {
        return named_added;
    }
    return ((capabilities | all_added) & ~named_dropped) | named_added;
}

uint64_t parse_size(const std::string& text, const std::string& option) {
    const bool is_bytes = !text.empty() && (text.back() == 'b' || text.back() == 'B' ||
                                            (text.back() >= '0' && text.back() <= '9'));
    const std::string digits = text.substr(0, text.find_last_of("0123456789") + 1);
    if (!is_bytes || text.size() > digits.size() + 1) {
        return parse_memory_size(text, option);
    }
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || value == 0) {
        refuse_option(option, text, "it is no size", "give one such as 512m");
    }
    return value;
}

ProcessLimit ProcessLimit::parse(const std::string& text) {
    const size_t equals = text.find('=');
    const std::string_view name = std::string_view{text}.substr(0, equals);
    const auto* const found = std::ranges::find(kLimits, name, &NamedLimit::name);
    if (equals == std::string::npos || found == std::end(kLimits)) {
        refuse_option("--ulimit", text, "it is not NAME=SOFT[:HARD] with a name that is known",
                      "give one such as nofile=1024:2048");
    }
    const std::string_view values = std::string_view{text}.substr(equals + 1);
    const size_t colon = values.find(':');
    const uint64_t soft = parse_limit(values.substr(0, colon), text);
    const uint64_t hard =
        colon == std::string_view::npos ? soft : parse_limit(values.substr(colon + 1), text);
    if (soft > hard) {
        refuse_option("--ulimit", text, "the soft limit is above the hard one", "give SOFT:HARD");
    }
    return {found->resource, soft, hard};
}

TmpfsMount TmpfsMount::parse(const std::string& text) {
    TmpfsMount mount;
    const size_t colon = text.find(':');
    mount.path = text.substr(0, colon);
    mount.flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (!mount.path.starts_with('/') || mount.path == "/") {
        refuse_option("--tmpfs", text, "its path is not absolute, or is /", "give PATH[:OPTION,…]");
    }
    if (colon == std::string::npos) {
        return mount;
    }
    for (const OptionWord& word : split_words(text.substr(colon + 1))) {
        const auto* const flag = std::ranges::find(kFlags, word.text, &NamedFlag::name);
        if (flag != std::end(kFlags)) {
            mount.flags = (mount.flags | flag->set) & ~flag->cleared;
        } else if (word.value && std::ranges::find(kOptions, word.key) != std::end(kOptions)) {
            mount.options += (mount.options.empty() ? "" : ",") + word.text;
        } else {
            refuse_option("--tmpfs", text, "'" + word.text + "' is no option of such a mount",
                          "give some of size=, mode=, uid=, gid=, ro, exec, suid, dev");
        }
    }
    return mount;
}

const Endpoint* ContainerConfig::way_out() const {
    const auto found = std::ranges::find_if(endpoints, &Endpoint::is_way_out);
    return found == endpoints.end() ? nullptr : &*found;
}

void apply_image(ContainerConfig& config, const ImageConfig& image, const ImageOverrides& overrides) {
    config.command = overrides.entrypoint.value_or(image.entrypoint);
    if (config.command.size() == 1 && config.command.front().empty()) {
        config.command.clear();
    }
    const bool is_images =
        overrides.command.empty() && (!overrides.entrypoint || overrides.entrypoint->empty());
    const std::vector<std::string>& words = is_images ? image.command : overrides.command;
    config.command.insert(config.command.end(), words.begin(), words.end());
    if (config.command.empty()) {
        throw Error{ExitStatus::usage, "cannot tell what to run", "the image names no command",
                    "give one behind the image"};
    }

    config.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                          "HOSTNAME=" + config.host_name};
    if (config.tty) {
        config.environment.emplace_back("TERM=xterm");
    }
    std::vector<std::string> own = overrides.environment;
    for (const std::string& variable : image.environment) {
        if (std::ranges::find(own, name_of(variable), name_of) == own.end()) {
            own.push_back(variable);
        }
    }
    for (const std::string& variable : own) {
        set_variable(config.environment, variable);
    }

    config.user = overrides.user.empty() ? image.user : overrides.user;
    config.working_folder =
        overrides.working_folder.empty() ? image.working_folder : overrides.working_folder;
    if (!config.working_folder.starts_with('/')) {
        config.working_folder.insert(0, "/");
    }
}

}  // namespace hull::container
