#include "container/main/run_options.h"

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "container/main/store_options.h"
#include "vmm/machine/jail_config.h"
#include "vmm/machine/net_config.h"
#include "vmm/machine/option_text.h"
#include "vmm/main/command_line.h"

namespace hull::container {

namespace options = boost::program_options;

namespace {

constexpr const char* kAdvice = "see 'hull run --help'";
constexpr uint64_t kLeastMemory = uint64_t{6} << 20;  // Docker's

options::options_description describe() {
    options::options_description known{"Options", 100, 50};
    const auto text = [](const char* name) { return options::value<OptionValues>()->value_name(name); };
    const auto flag = [] { return options::value<OptionValues>()->zero_tokens(); };
    known.add_options()                                                    //
        ("interactive,i", flag(), "give the command this standard input")  //
        ("tty,t", flag(), "give the command a terminal")                   //
        ("env,e", text("NAME[=VALUE]"),
         "a variable of the command's; without a value, this process's; may be given several times")  //
        ("env-file", text("FILE"), "a file with such lines; may be given several times")              //
        ("workdir,w", text("DIR"), "the folder that the command runs in")                             //
        ("user,u", text("NAME|ID[:GROUP|ID]"), "whose rights the command has")                        //
        ("entrypoint", text("PROGRAM"), "what is run, in place of the image's entry point")           //
        ("name", text("NAME"), "the container's name")                                                //
        ("hostname,h", text("NAME"), "the host name that the command sees")                           //
        ("init", flag(), "make the command the child of an init, which reaps and passes signals on")  //
        ("rm", flag(), "remove the container at its end, which is always done")                       //
        ("memory,m", text("SIZE"), "memory that the command may use, for example 512m")               //
        ("cpus", text("N"), "processors whose time it may use, with a fraction (1.5)")                //
        ("pids-limit", text("N"), "processes that it may have")                                       //
        ("shm-size", text("SIZE"), "size of /dev/shm (default 64m)")                                  //
        ("network", text("KIND"), "user (default): a way out by the host's sockets; or none")         //
        ("net", text("KIND"), "the same")                                                             //
        ("publish,p", text("[IP:]PORT:PORT[/udp]"),
         "a port of the host's that leads to one of the container's; may be given several times")  //
        ("add-host", text("NAME:IP"), "a line of /etc/hosts; may be given several times")          //
        ("read-only", flag(), "let nothing be written to the container's root")                    //
        ("tmpfs", text("DIR[:OPTION,…]"), "a folder in memory only; may be given several times")   //
        ("ulimit", text("NAME=SOFT[:HARD]"),
         "a limit of the command's (nofile, nproc, …); may be given several times")                    //
        ("cap-add", text("NAME"), "a capability beside the default ones; may be given several times")  //
        ("cap-drop", text("NAME"), "a capability that is taken away; may be given several times")      //
        ("security-opt", text("OPTION"), "no-new-privileges")                                          //
        ("kernel", text("FILE"), "kernel; left out: what scripts/guest-kernel fetched")                //
        ("initramfs", text("FILE"),
         "initramfs with the kernel's modules, as scripts/guest-initramfs makes it");
    add_jail_options(known);
    add_store_option(known);
    add_registry_options(known);
    known.add_options()("help", flag(), "print this");
    return known;
}

/// How many of the arguments are options and their values: the image is the first that is neither.
size_t count_options(const options::options_description& known, const std::vector<std::string>& arguments) {
    const auto takes_value = [&](const std::string& name, bool is_short) {
        const auto* const option = known.find_nothrow((is_short ? "-" : "") + name, false);
        return option != nullptr && option->semantic()->max_tokens() > 0;
    };
    size_t at = 0;
    while (at < arguments.size()) {
        const std::string& word = arguments[at];
        if (word.size() < 2 || word.front() != '-' || word == "--") {
            break;
        }
        ++at;
        if (word.starts_with("--")) {
            at += word.find('=') == std::string::npos && takes_value(word.substr(2), false) ? 1 : 0;
            continue;
        }
        // "-it", "-eNAME", "-ite NAME"
        for (size_t letter = 1; letter < word.size(); ++letter) {
            if (takes_value(word.substr(letter, 1), true)) {
                at += letter + 1 == word.size() ? 1 : 0;
                break;
            }
        }
    }
    return std::min(at, arguments.size());
}

/// Docker's way: NAME alone is this process's, or is taken away where that has none.
std::string variable_of(const std::string& text, const std::string& option) {
    if (text.empty() || text.front() == '=') {
        refuse_option(option, text, "a variable has a name", "give NAME=VALUE or NAME");
    }
    if (text.find('=') != std::string::npos) {
        return text;
    }
    const char* value = std::getenv(text.c_str());
    return value == nullptr ? text : text + "=" + value;
}

void read_variables(const std::string& path, std::vector<std::string>& environment) {
    constexpr size_t kMost = size_t{1} << 20;
    const InputFile file = open_input_file(path, "file of variables");
    if (file.size > kMost) {
        refuse_option("--env-file", path, "it is larger than 1 MiB", "is it the right file?");
    }
    std::string text(file.size, '\0');
    read_exactly(file, "file of variables", 0, text.data(), text.size());
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        line.erase(0, line.find_first_not_of(" \t\r"));
        if (line.empty() || line.front() == '#') {
            continue;
        }
        if (line.substr(0, line.find('=')).find_first_of(" \t") != std::string::npos ||
            line.find('\0') != std::string::npos) {
            refuse_option("--env-file", path, "the name of a variable has a space or a NUL in it",
                          "give lines of NAME=VALUE or NAME");
        }
        environment.push_back(variable_of(line, "--env-file"));
    }
}

double parse_cpus(const std::string& text) {
    constexpr double kLeast = 0.01;
    constexpr double kMost = 254;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= kLeast && value <= kMost)) {
        refuse_option("--cpus", text, "it is not a number from 0.01 to 254", "give one such as 1.5");
    }
    return value;
}

/// As the user network takes it, which listens at 127.0.0.1 where nothing is said; docker at all addresses.
std::string parse_port(std::string text) {
    const std::string given = text;
    if (text.ends_with("/tcp")) {
        text.erase(text.size() - 4);
    }
    if (std::ranges::count(text, ':') == 1) {
        text.insert(0, "0.0.0.0:");
    }
    if (text.find(',') == std::string::npos && std::ranges::count(text, ':') == 2) {
        try {
            NetConfig::parse("user,forward=" + text);
            return text;
        } catch (const Error&) {
            // Said below, by the name of this option.
        }
    }
    refuse_option("--publish", given, "it is not [IP:]PORT:PORT[/tcp|/udp] with an IPv4 address",
                  "name both ports, such as 8080:80; ranges and ports by chance are not supported");
}

std::string parse_host(const std::string& text) {
    const size_t colon = text.find(':');
    if (colon == 0 || colon == std::string::npos || colon + 1 == text.size() ||
        text.find_first_of(" \t\n") != std::string::npos) {
        refuse_option("--add-host", text, "it is not NAME:IP", "give a name and an address");
    }
    return text.substr(colon + 1) + "\t" + text.substr(0, colon);
}

void check_name(const std::string& name) {
    constexpr size_t kMost = 64;
    const auto is_letter = [](char byte) {
        return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
    };
    if (name.size() < 2 || name.size() > kMost || !is_letter(name.front()) ||
        !std::ranges::all_of(
            name, [&](char byte) { return is_letter(byte) || byte == '_' || byte == '.' || byte == '-'; })) {
        refuse_option("--name", name,
                      "it is not 2 to 64 letters, digits, '_', '.' and '-', a letter or digit first",
                      "give another one");
    }
}

void check_host_name(const std::string& name) {
    constexpr size_t kMost = 63;
    if (name.empty() || name.size() > kMost || name.find_first_of(" \t\n/:") != std::string::npos) {
        refuse_option("--hostname", name, "it is not 1 to 63 letters, digits, '-' and '.'",
                      "give another one");
    }
}

/// Options that may come several times.
bool apply_list(RunOptions& result, const std::string& key, const OptionValues& values) {
    ContainerConfig& config = result.config;
    if (key == "publish") {
        std::ranges::transform(values, std::back_inserter(result.ports), parse_port);
    } else if (key == "add-host") {
        std::ranges::transform(values, std::back_inserter(config.extra_hosts), parse_host);
    } else if (key == "tmpfs") {
        std::ranges::transform(values, std::back_inserter(config.tmpfs), TmpfsMount::parse);
    } else if (key == "ulimit") {
        for (const std::string& value : values) {
            const ProcessLimit limit = ProcessLimit::parse(value);
            std::erase_if(config.limits,
                          [&](const ProcessLimit& each) { return each.resource == limit.resource; });
            config.limits.push_back(limit);  // the last of its name counts
        }
    } else if (key == "security-opt") {
        for (const std::string& value : values) {
            if (value != "no-new-privileges" && value != "no-new-privileges:true" &&
                value != "no-new-privileges=true") {
                refuse_option("--security-opt", value, "only no-new-privileges is supported", "leave it out");
            }
            config.no_new_privileges = true;
        }
    } else {
        return false;
    }
    return true;
}

void apply(RunOptions& result, const std::string& key, const OptionValues& values) {
    ContainerConfig& config = result.config;
    if (apply_list(result, key, values)) {
        return;
    }
    const std::string& value = single_value(values, key);
    if (key == "workdir") {
        if (!value.starts_with('/')) {
            refuse_option("--workdir", value, "it is not an absolute path", "begin it with /");
        }
        result.overrides.working_folder = value;
    } else if (key == "user") {
        result.overrides.user = value;
    } else if (key == "entrypoint") {
        result.overrides.entrypoint = {value};
    } else if (key == "name") {
        check_name(value);
        result.name = value;
    } else if (key == "hostname") {
        check_host_name(value);
        config.host_name = value;
    } else if (key == "memory") {
        config.group.memory = parse_size(value, "--memory");
        if (*config.group.memory < kLeastMemory) {
            refuse_option("--memory", value, "it is less than 6m", "give more");
        }
    } else if (key == "cpus") {
        config.group.cpus = parse_cpus(value);
    } else if (key == "pids-limit") {
        constexpr uint32_t kMost = uint32_t{1} << 22;
        config.group.processes = parse_number(value, "--pids-limit", 1, kMost);
    } else if (key == "shm-size") {
        config.shm_size = parse_size(value, "--shm-size");
    } else if (key == "network" || key == "net") {
        if (value != "user" && value != "none") {
            refuse_option("--network", value, "it is neither user nor none", "give one of these");
        }
        config.has_network = value == "user";
    } else if (key == "kernel") {
        result.kernel = value;
    } else if (key == "initramfs") {
        result.initramfs = value;
    } else if (key.starts_with("jail")) {
        JailConfig checked;
        apply_jail_option(checked, key, value);
        result.jail_words.push_back("--" + key);
        result.jail_words.push_back(value);
    }
}

}  // namespace

RunOptions parse_run_options(const std::vector<std::string>& arguments) {
    const options::options_description known = describe();
    const size_t count = count_options(known, arguments);
    RunOptions result;
    result.store = read_command_line(
        known, {arguments.begin(), arguments.begin() + static_cast<ptrdiff_t>(count)}, kAdvice);
    const auto has = [&](const char* name) { return result.store.count(name) > 0; };
    result.help = has("help");
    if (result.help) {
        return result;
    }
    result.config.has_input = has("interactive");
    result.config.tty = has("tty");
    result.config.has_init = has("init");
    result.config.is_read_only = has("read-only");
    const auto values_of = [&](const char* name) {
        return has(name) ? result.store[name].as<OptionValues>() : OptionValues{};
    };
    // Those of files first, so that the others win.
    std::vector<std::string>& environment = result.overrides.environment;
    for (const std::string& path : values_of("env-file")) {
        read_variables(path, environment);
    }
    for (const std::string& text : values_of("env")) {
        environment.push_back(variable_of(text, "--env"));
    }
    result.config.capabilities =
        change_capabilities(kDefaultCapabilities, values_of("cap-add"), values_of("cap-drop"));
    constexpr std::array kElsewhere{"interactive",
                                    "tty",
                                    "init",
                                    "read-only",
                                    "rm",
                                    "env",
                                    "env-file",
                                    "cap-add",
                                    "cap-drop",
                                    "data-root",
                                    "insecure-registry",
                                    "registry-mirror"};
    for (const auto& [key, value] : result.store) {
        if (std::ranges::find(kElsewhere, key) == kElsewhere.end()) {
            apply(result, key, value.as<OptionValues>());
        }
    }
    if (has("network") && has("net")) {
        throw Error{ExitStatus::usage, "cannot use --network and --net together", "they mean the same",
                    "give one of them"};
    }
    if (!result.config.has_network && !result.ports.empty()) {
        throw Error{ExitStatus::usage, "cannot publish ports (--publish)", "--network none has none",
                    "leave one of them out"};
    }
    if (count == arguments.size()) {
        throw Error{ExitStatus::usage, "cannot tell what to run", "no image is named", kAdvice};
    }
    result.image = arguments[count];
    result.overrides.command.assign(arguments.begin() + static_cast<ptrdiff_t>(count) + 1, arguments.end());
    return result;
}

std::string run_help() {
    std::ostringstream text;
    text << "Usage: hull run [OPTION…] IMAGE [COMMAND [ARGUMENT…]]\n"
            "Runs a command in a container with a virtual machine, and so a kernel, of its own, and removes "
            "it\n"
            "at its end. An image that is not here is pulled.\n\n"
         << describe()
         << "\nExit status: the command's, or 128 and the number of the signal that ended it; 125 the "
            "container "
            "could\n"
            "not be made, 126 the command cannot be executed, 127 it was not found.\n";
    return text.str();
}

}  // namespace hull::container
