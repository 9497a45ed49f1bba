#include "vmm/main/sandbox_options.h"

#include <arpa/inet.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <iterator>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "vmm/arch/arch.h"
#include "vmm/machine/option_text.h"
#include "vmm/main/command_line.h"
#include "vmm/main/fetched_files.h"
#include "vmm/main/helper_process.h"

namespace hull {

namespace options = boost::program_options;

namespace {

constexpr const char* kAdvice = "see 'hull sandbox --help'";

options::options_description describe() {
    options::options_description known{"Options", 100, 50};
    const auto text = [] { return options::value<OptionValues>(); };
    const auto flag = [] { return options::value<OptionValues>()->zero_tokens(); };
    known.add_options()  //
        ("image", text()->value_name("FILE"),
         "what the command sees instead of the host's programs: a tar archive of a whole root, or the image "
         "of its file system")  //
        ("in", text()->value_name("PATH"),
         "file or folder that the command finds under /in; may be given several times")  //
        ("out", text()->value_name("DIR"),
         "folder for what the command leaves in /out; made where it is missing, and empty where it is not")  //
        ("out-limit", text()->value_name("SIZE"), "the most that comes back (default 1G)")               //
        ("net", text()->value_name("KIND"), "none (default), or user: a way out by the host's sockets")  //
        ("allow", text()->value_name("HOST:PORT"),
         "a place that the command may connect to by TCP, beside --net none; up to 16")      //
        ("timeout", text()->value_name("SECONDS"), "the longest that the command may take")  //
        ("cpus", text()->value_name("N"), "vCPUs, 1 to 254 (default 1)")                     //
        ("memory", text()->value_name("SIZE"),
         "memory, for example 512M (the default) or 2G; files that the command writes are in it")      //
        ("tty", flag(), "give the command a terminal; standard input must be one")                     //
        ("kernel", text()->value_name("FILE"), "kernel; left out: what scripts/guest-kernel fetched")  //
        ("initramfs", text()->value_name("FILE"),
         "initramfs with the kernel's modules, as scripts/guest-initramfs makes it");
    add_jail_options(known);
    known.add_options()  //
        ("help,h", flag(), "print this");
    return known;
}

/// The IPv4 address of a name, as text; empty where it has none. The host's own program asks for it: how
/// names are looked up is a matter of libraries that a static program cannot count on.
std::string address_of(const std::string& host) {
    in_addr ignored{};
    if (inet_pton(AF_INET, host.c_str(), &ignored) == 1) {
        return host;
    }
    const std::string answer =
        output_of("getent", "{ getent -A ahostsv4 \"$0\" || getent ahostsv4 \"$0\"; } >&3 2>/dev/null", host);
    return answer.substr(0, answer.find_first_of(" \t\n"));
}

AllowedPeer parse_peer(const std::string& text) {
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0 || text.find_first_of(" \t\n[") != std::string::npos ||
        text.front() == '-') {
        refuse_option("--allow", text, "it is not HOST:PORT", "give a name or an IPv4 address, and a port");
    }
    AllowedPeer peer{
        .host = text.substr(0, colon),
        .port = static_cast<uint16_t>(parse_number(text.substr(colon + 1), "--allow", 1, UINT16_MAX))};
    const std::string text_of_address = address_of(peer.host);
    in_addr address{};
    if (inet_pton(AF_INET, text_of_address.c_str(), &address) != 1) {
        throw Error{ExitStatus::no_resources, "cannot let the command reach '" + text + "' (--allow)",
                    "the name has no IPv4 address", "is the name right, and the host's network up?"};
    }
    peer.address = ntohl(address.s_addr);
    return peer;
}

/// Puts the value of one option in.
void apply(SandboxOptions& result, const std::string& key, const OptionValues& values) {
    if (key == "in") {
        result.in.assign(values.begin(), values.end());
        return;
    }
    if (key == "allow") {
        constexpr size_t kMost = 16;  // that the agent listens for
        if (values.size() > kMost) {
            refuse_option("--allow", values.back(), "there are more than 16", "leave some out");
        }
        std::ranges::transform(values, std::back_inserter(result.allowed), parse_peer);
        return;
    }
    const std::string& value = single_value(values, key);
    if (key == "out") {
        if (value.empty()) {
            refuse_option("--out", value, "it names no folder", "give one");
        }
        result.out = value;
    } else if (key == "image") {
        if (value.empty()) {
            refuse_option("--image", value, "it names no file", "give one");
        }
        result.image = value;
    } else if (key == "out-limit") {
        result.out_limit = parse_memory_size(value, "--out-limit");
    } else if (key == "net") {
        if (value != "none" && value != "user") {
            refuse_option("--net", value, "it is neither none nor user", "give one of these");
        }
        result.user_net = value == "user";
    } else if (key == "timeout") {
        result.timeout = parse_seconds(value, "--timeout");
    } else if (key == "cpus") {
        result.cpus = parse_number(value, "--cpus", 1, arch::kMaxCpus);
    } else if (key == "memory") {
        result.memory = parse_memory_size(value, "--memory");
    } else if (key == "kernel") {
        result.kernel = value;
    } else if (!apply_jail_option(result.jail, key, value)) {
        result.initramfs = value;
    }
}

}  // namespace

SandboxOptions parse_sandbox_options(const std::vector<std::string>& arguments) {
    const auto end = std::ranges::find(arguments, "--");
    const options::variables_map values = read_command_line(describe(), {arguments.begin(), end}, kAdvice);
    SandboxOptions result;
    result.help = values.count("help") > 0;
    if (result.help) {
        return result;
    }
    result.tty = values.count("tty") > 0;
    for (const auto& [key, value] : values) {
        if (key != "tty") {
            apply(result, key, value.as<OptionValues>());
        }
    }
    if (end == arguments.end() || end + 1 == arguments.end()) {
        throw Error{ExitStatus::usage, "cannot tell what to run in the sandbox",
                    "no command stands behind a '--'", kAdvice};
    }
    if (result.user_net && !result.allowed.empty()) {
        throw Error{ExitStatus::usage, "cannot use --net user and --allow together",
                    "the first allows everything", "leave one of them out"};
    }
    result.command.assign(end + 1, arguments.end());
    GuestKernel found = find_guest_kernel({result.kernel, result.initramfs}, "a sandbox");
    result.kernel = std::move(found.kernel);
    result.initramfs = std::move(found.initramfs);
    return result;
}

std::string sandbox_help() {
    std::ostringstream text;
    text
        << "Usage: hull sandbox [OPTION…] -- COMMAND [ARGUMENT…]\n"
           "Runs a command in a virtual machine that is thrown away behind it. It sees the host's programs,\n"
           "read-only beneath a layer that is thrown away too, and nothing else of the host's: no homes, no\n"
           "keys, no network; with --image not even these. It is root there, in an empty folder /in or in "
           "what --in brings. A COMMAND "
           "that "
           "is\n"
           "a file elsewhere (./program) is brought in by itself. With --tty, Ctrl-A x ends it, and Ctrl-A\n"
           "Ctrl-A sends one Ctrl-A.\n\n"
        << describe()
        << "\nExit status: the command's, or 128 and the number of the signal that ended it; 124 it took too "
           "long,\n"
           "125 the sandbox could not be made, 126 the command cannot be executed, 127 it was not found.\n";
    return text.str();
}

}  // namespace hull
