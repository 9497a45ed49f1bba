// The hull program: one word in front, a command behind it.

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/signals.h"
#include "devices/block/served_disk.h"
#include "devices/legacy/console_output.h"
#include "devices/net/frame_stream.h"
#include "devices/net/served_net.h"
#include "devices/vsock/host_socket.h"
#include "vmm/api/config_api.h"
#include "vmm/api/http_server.h"
#include "vmm/api/machine_api.h"
#include "vmm/arch/arch.h"
#include "vmm/jail/broker.h"
#include "vmm/jail/cgroup.h"
#include "vmm/jail/jail.h"
#include "vmm/jail/seccomp.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/device_files.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/option_text.h"
#include "vmm/main/control.h"
#include "vmm/main/file_server.h"
#include "vmm/main/helper_process.h"
#include "vmm/main/host_check.h"
#include "vmm/main/keeper.h"
#include "vmm/main/made_files.h"
#include "vmm/main/options.h"
#include "vmm/main/sandbox.h"
#include "vmm/main/share_server.h"
#include "vmm/main/terminal.h"
#include "vmm/main/user_net.h"

namespace hull {

namespace {

void print_help() {
    std::puts(
        "Usage: hull COMMAND [OPTION…]\n"
        "Runs Linux guests in virtual machines on KVM.\n\n"
        "Commands:\n"
        "  boot     boot a kernel ('hull boot --help' lists the options)\n"
        "  sandbox  run a command in a virtual machine that is thrown away ('hull sandbox --help')\n"
        "  serve    make the machine that a client of Firecracker's API wants ('hull serve --help')\n"
        "  restore  go on with a machine that was frozen ('hull restore --help')\n"
        "  ctl      control a machine that runs ('hull ctl --help')\n"
        "  snapshot look whether a machine that was frozen is whole ('hull snapshot --help')\n"
        "  check    look whether this host can run guests\n"
        "  run      run a command in a container with a virtual machine of its own ('hull run --help')\n"
        "  pull     get an image of a container from a registry ('hull pull --help')\n"
        "  build    make an image of what a Dockerfile says ('hull build --help')\n"
        "  images   list the images that are here\n"
        "  rmi      remove images\n"
        "  daemon   serve docker's clients ('hull daemon --help')\n\n"
        "  --help, --version");
}

UniqueFd open_console_output(const ConsoleConfig& console) {
    if (console.kind == ConsoleConfig::Kind::stdio) {
        // The machine cannot open anything again.
        if (UniqueFd fd = reopen_without_blocking(STDOUT_FILENO); fd.valid()) {
            return fd;
        }
        if (UniqueFd fd = duplicate(STDOUT_FILENO); fd.valid()) {
            return fd;
        }
    }
    const bool to_file = console.kind == ConsoleConfig::Kind::file;
    const std::string path = to_file ? console.path.string() : "/dev/null";
    UniqueFd fd{open(path.c_str(), O_WRONLY | O_CLOEXEC | (to_file ? O_CREAT | O_TRUNC : 0), 0666)};
    if (!fd.valid()) {
        throw Error{ExitStatus::bad_file, "cannot write the console to '" + path + "'", errno_text(errno),
                    "check the path and who may write there"};
    }
    return fd;
}

PortFiles open_port(const PortConfig& port, MadeFiles& made) {
    switch (port.kind) {
        case PortConfig::Kind::socket:
            return {.listener = made.listen_at(port.path), .input = {}, .output = {}};
        case PortConfig::Kind::pipe:
            return {.listener = {},
                    .input = made.open_pipe(port.path.string() + ".in"),
                    .output = made.open_pipe(port.path.string() + ".out")};
        case PortConfig::Kind::file:
            break;
    }
    UniqueFd file{
        open(port.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666)};
    if (!file.valid()) {
        throw Error{ExitStatus::bad_file,
                    "cannot write port '" + port.name + "' to '" + port.path.string() + "'",
                    errno_text(errno), "check the path and who may write there"};
    }
    return {.listener = {}, .input = {}, .output = std::move(file)};
}

virtio::VhostUser open_disk_server(const DiskConfig& disk) {
    return virtio::greet_vhost_user(virtio::connect_vhost_user(disk.path),
                                    virtio::served_disk_kind(disk.queues),
                                    "cannot use the disk's server at '" + disk.path.string() + "'",
                                    "is a vhost-user-blk server listening there?");
}

virtio::VhostUser open_net_server(const NetConfig& net) {
    return virtio::greet_vhost_user(
        virtio::connect_vhost_user(net.socket), virtio::served_net_kind(virtio::MacAddress{}, net.mtu),
        "cannot use the network's server at '" + net.socket + "'",
        "is a vhost-user-net server listening there? leave vhost-user out for a stream of frames");
}

/// The programs that work for a machine.
struct Helpers {
    std::vector<UserNet> user_nets;
    std::vector<HelperProcess> share_servers;
    std::optional<HelperProcess> file_server;
};

/// What the machine connects to while it runs: by itself where it has no jail, else by the keeper.
jail::Broker::Connect reach(jail::Broker& broker, const MachineConfig& config,
                            jail::Broker::Connect connect) {
    return config.jail.mode == JailConfig::Mode::off ? connect : broker.add(std::move(connect));
}

/// The same, where there is only one such place.
std::function<UniqueFd()> reach_again(jail::Broker& broker, const MachineConfig& config,
                                      std::function<UniqueFd()> find) {
    return [connect = reach(broker, config, [find = std::move(find)](uint32_t /*port*/) { return find(); })] {
        return connect(0);
    };
}

void open_nets(const MachineConfig& config, MachineFiles& files, std::vector<UserNet>& user_nets,
               jail::Broker& broker) {
    for (auto user_net = user_nets.begin(); const NetConfig& net : config.nets) {
        if (net.kind == NetConfig::Kind::served) {
            files.net_servers.push_back(
                {open_net_server(net),
                 reach_again(broker, config, [path = net.socket] { return virtio::find_vhost_user(path); })});
        } else if (net.kind == NetConfig::Kind::user) {
            files.nets.emplace_back().links.push_back({(user_net++)->take_link(), UniqueFd{}});
        } else {
            files.nets.push_back({.links = open_net(net)});
            if (net.kind == NetConfig::Kind::socket) {
                files.nets.back().find_stream = reach_again(
                    broker, config, [path = net.socket] { return virtio::find_frame_stream(path); });
            }
        }
    }
}

/// Opens what the machine gets; the helpers are started meanwhile and ready at the end.
void open_files(const MachineConfig& config, MachineFiles& files, Helpers& helpers, MadeFiles& made,
                jail::Broker& broker, const jail::Cgroup* group) {
    std::vector<UserNet>& user_nets = helpers.user_nets;
    // First, since they take the longest.
    for (const NetConfig& net : config.nets) {
        if (net.kind == NetConfig::Kind::user) {
            user_nets.emplace_back(net, config.jail, group);
        }
    }
    files.kvm = open_kvm();
    if (!files.frozen) {
        files.kernel = open_input_file(config.kernel, "kernel");
        for (const auto& path : config.initramfs) {
            files.initramfs.push_back(open_input_file(path, "initramfs"));
        }
    }
    for (const DiskConfig& disk : config.disks) {
        if (disk.is_served) {
            files.disk_servers.push_back(
                {open_disk_server(disk),
                 reach_again(broker, config, [path = disk.path] { return virtio::find_vhost_user(path); })});
        } else {
            const auto number = static_cast<size_t>(&disk - config.disks.data());
            files.disks.push_back(open_disk(disk, disk.name(number)));
        }
    }
    open_nets(config, files, user_nets, broker);
    for (const ShareConfig& share : config.shares) {
        ShareServer server = start_share_server(share, group);
        helpers.share_servers.push_back(std::move(server.process));
        files.shares.push_back(std::move(server.connection));
    }
    if (config.view) {
        FileServerProcess server = start_file_server(*config.view, group);
        helpers.file_server.emplace(std::move(server.process));
        files.view = std::move(server.link);
    }
    for (const PortConfig& port : config.ports) {
        files.ports.push_back(open_port(port, made));
    }
    if (config.vsock) {
        files.vsock = made.listen_at(config.vsock->path);
        files.vsock_connector = reach(broker, config, virtio::connect_beside(config.vsock->path));
    }
    files.console_output = open_console_output(config.console);
    if (config.console.kind == ConsoleConfig::Kind::stdio) {
        files.console_input = duplicate(STDIN_FILENO);
    }
    for (UserNet& user_net : user_nets) {
        user_net.wait_until_ready();
    }
}

/// For the threads to come. Of the default's 8 MiB nothing is used but a first few KiB, and these lie on a
/// huge page of their own where the host makes such of its own accord.
void use_small_stacks() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size_t{512} << 10);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}

void print_timing(const Timeline& timeline, std::optional<Timeline::Clock::time_point> first_line) {
    const auto ms = [&](Timeline::Clock::time_point point) {
        return std::chrono::duration<double, std::milli>(point - timeline.main + timeline.before_main)
            .count();
    };
    std::fprintf(stderr, "hull: timing: KVM ready after %.3f ms\n", ms(timeline.kvm_ready));
    std::fprintf(stderr, "hull: timing: image loaded after %.3f ms\n", ms(timeline.image_loaded));
    std::fprintf(stderr, "hull: timing: first instruction after %.3f ms\n", ms(timeline.first_instruction));
    if (first_line) {
        std::fprintf(stderr, "hull: timing: first line of init after %.3f ms\n", ms(*first_line));
    } else {
        std::fprintf(stderr, "hull: timing: no line of init was seen\n");
    }
}

/// Limits what is read and written on the host's disks that the machine's lie on.
void limit_io(jail::Cgroup& group, const MachineConfig& config, const MachineFiles& files) {
    const IoLimit& limit = *config.limits.io;
    for (auto image = files.disks.begin(); const DiskConfig& disk : config.disks) {
        if (disk.is_served) {
            continue;
        }
        for (const UniqueFd& file : image->files) {
            group.limit_io(limit, file.get(), disk.text());
        }
        if (image->layer.valid()) {
            group.limit_io(limit, image->layer.get(), "the layer over " + disk.text());
        }
        ++image;
    }
    for (const ShareConfig& share : config.shares) {
        const auto limit_at = [&](const std::filesystem::path& path) {
            const UniqueFd place{open(path.c_str(), O_PATH | O_CLOEXEC)};
            group.limit_io(limit, place.get(), path);
        };
        if (!share.path.empty()) {
            limit_at(share.path);
        }
        for (const ShareConfig::Part& part : share.parts) {
            limit_at(part.path);
        }
    }
}

/// The keeper's loop, and what serves an API on it.
struct Control {
    /// `path`: of its socket; empty: there is no API.
    explicit Control(const std::filesystem::path& path) {
        if (!path.empty()) {
            server.emplace(loop, made.listen_at(path), "Hull API", nullptr);
        }
    }

    MadeFiles made;
    EventLoop loop;
    std::optional<HttpServer> server;
    ControlledMachine::Done on_start = nullptr;  ///< see KeptMachine
};

/// An address by chance for each network device that is given none: a machine that is restored has to have
/// the same one again.
MachineConfig with_addresses(MachineConfig config) {
    for (NetConfig& net : config.nets) {
        net.mac = net.mac ? net.mac : random_mac();
    }
    return config;
}

/// Opens what a machine needs, makes it, or goes on with one that was frozen, and stays until it has ended.
ExitStatus keep(const MachineConfig& given, Timeline& timeline, Control& control,
                std::optional<FrozenMachine> frozen = {}) {
    const bool stays_paused = frozen && frozen->stays_paused;
    const MachineConfig config = with_addresses(given);
    const jail::Jail cell{config.jail};
    if (cell.is_off()) {
        log_warning("the machine has no jail (--jail off): who breaks out of its guest has all your rights");
    }
    MadeFiles made;
    std::optional<jail::Cgroup> group;  // outlives the helpers that are in it
    if (config.limits.any()) {
        group.emplace(config.limits);
    }
    MachineFiles files;
    files.frozen = std::move(frozen);
    jail::Broker broker;
    Helpers helpers;  // ended before their connections are, which they would report
    open_files(config, files, helpers, made, broker, group ? &*group : nullptr);
    if (config.limits.io) {
        limit_io(*group, config, files);
    }
    RawTerminal terminal{files.console_input.get()};
    files.input_is_terminal = terminal.is_terminal();
    use_small_stacks();
    const auto run = [&](int control_fd) {
        if (group && !group->enter()) {
            throw Error{ExitStatus::host_unfit, "cannot put the machine into its group of processes",
                        errno_text(errno)};
        }
        std::vector<int> descriptors = files.descriptors();
        for (const int fd : broker.machines_descriptors()) {
            descriptors.push_back(fd);
        }
        descriptors.push_back(control_fd);
        // A machine on a terminal ends by itself, since the terminal is to be restored.
        cell.close(descriptors, !terminal.is_terminal());
        if (config.jail.has(JailConfig::Layer::seccomp)) {
            const bool is_strict = config.jail.mode == JailConfig::Mode::strict;
            jail::install_thread_guard(is_strict ? jail::Refusal::kill : jail::Refusal::fail);
        }
        Machine machine{config, std::move(files), timeline};
        const ExitStatus status = machine.run(control_fd);
        if (machine.keeper_is_gone()) {
            terminal.restore();
        }
        if (config.timing) {
            print_timing(timeline, machine.first_line_time());
        }
        return status;
    };
    const ExitStatus how = keep_machine({.terminal = terminal,
                                         .stop_timeout = config.stop_timeout,
                                         .broker = broker,
                                         .config = config,
                                         .loop = control.loop,
                                         .api = control.server ? &*control.server : nullptr,
                                         .is_paused = stays_paused,
                                         .on_start = control.on_start,
                                         .fork = [&] { return cell.fork_machine(); },
                                         .run = run});
    if (group && group->ran_out_of_memory()) {
        log_warning("a process of the machine was killed, since it needed more than --memory-limit " +
                    memory_size_text(config.limits.memory) +
                    "; raise that, or give the guest less (--memory)");
    }
    return how;
}

ExitStatus boot(const std::vector<std::string>& arguments, Timeline& timeline) {
    const BootOptions options = parse_boot_options(arguments);
    if (options.help) {
        std::fputs(boot_help().c_str(), stdout);
        return ExitStatus::success;
    }
    const MachineConfig& config = options.config;
    config.check();
    if (options.dry_run) {
        std::fputs(config.to_json().c_str(), stdout);
        return ExitStatus::success;
    }
    Control control{options.api_socket};
    return keep(config, timeline, control);
}

ExitStatus restore(const std::vector<std::string>& arguments, Timeline& timeline) {
    RestoreOptions options = parse_restore_options(arguments);
    if (options.boot.help) {
        std::fputs(restore_help().c_str(), stdout);
        return ExitStatus::success;
    }
    options.boot.config.check();
    InputFile memory = open_input_file(options.files.memory, "snapshot's memory");
    Control control{options.boot.api_socket};
    return keep(options.boot.config, timeline, control,
                FrozenMachine{std::move(options.state), std::move(memory)});
}

/// Starts what a client of `hull serve` wants, and stays until it has ended. Throws Error where it cannot be.
ExitStatus start_served(const ConfigApi& api, const ConfigApi::Start& wanted, Control& control,
                        Timeline& timeline) {
    control.on_start = answer_with(wanted.reply);
    if (!wanted.snapshot) {
        return keep(api.config(), timeline, control);
    }
    SnapshotState state = SnapshotState::read(wanted.snapshot->state);
    MachineConfig config = config_of(state, wanted.snapshot->state);
    config.jail = api.config().jail;
    config.stop_timeout = api.config().stop_timeout;
    config.timing = api.config().timing;
    if (config.console.virtio == api.config().console.virtio) {
        config.console = api.config().console;
    }
    config.check();
    return keep(config, timeline, control,
                FrozenMachine{.state = std::move(state),
                              .memory = open_input_file(wanted.snapshot->memory, "snapshot's memory"),
                              .stays_paused = wanted.stays_paused});
}

ExitStatus serve(const std::vector<std::string>& arguments, Timeline& timeline) {
    const BootOptions options = parse_serve_options(arguments);
    if (options.help) {
        std::fputs(serve_help().c_str(), stdout);
        return ExitStatus::success;
    }
    const UniqueFd signals =
        catch_signals({SIGTERM, SIGINT, SIGHUP});  // before there is a socket to leave behind
    Control control{options.api_socket};
    std::optional<ConfigApi::Start> wanted;
    ConfigApi api{options.config, [&](ConfigApi::Start start) {
                      wanted.emplace(std::move(start));
                      control.loop.stop();
                  }};
    for (;;) {
        control.server->set_handler([&api](const HttpRequest& request, const HttpServer::Reply& reply) {
            api.handle(request, reply);
        });
        control.loop.watch(signals.get(), [&control] { control.loop.stop(); });
        control.loop.run();
        control.loop.forget(signals.get());
        if (!wanted) {
            return ExitStatus::forced_stop;
        }
        const ConfigApi::Start start = *std::exchange(wanted, std::nullopt);
        try {
            return start_served(api, start, control, timeline);
        } catch (const Error& error) {
            start.reply(HttpServer::fault(error.what()));
        }
    }
}

/// What hulld does, a program of its own that links what a machine's process must not hold.
constexpr std::array<std::string_view, 6> kCommandsOfHulld{"build", "daemon", "images", "pull", "rmi", "run"};

/// Becomes hulld. Throws Error (bad_file) where it cannot.
[[noreturn]] void become_hulld(const std::vector<std::string>& arguments) {
    const std::string file = own_file("hulld");
    std::string name = "hulld";
    std::vector<char*> words{name.data()};
    for (const std::string& argument : arguments) {
        words.push_back(const_cast<char*>(argument.c_str()));
    }
    words.push_back(nullptr);
    execv(file.c_str(), words.data());
    throw Error{ExitStatus::bad_file, "cannot start '" + file + "'", errno_text(errno),
                "build or install all of Hull"};
}

ExitStatus run(const std::vector<std::string>& arguments, Timeline& timeline) {
    if (arguments.empty()) {
        throw Error{ExitStatus::usage, "cannot tell what to do", "no command was given", "see 'hull --help'"};
    }
    const std::string& command = arguments.front();
    const std::vector<std::string> rest{arguments.begin() + 1, arguments.end()};
    if (command == "boot") {
        return boot(rest, timeline);
    }
    if (command == "serve") {
        return serve(rest, timeline);
    }
    if (command == "restore") {
        return restore(rest, timeline);
    }
    if (command == "ctl") {
        return run_control(rest);
    }
    if (command == "snapshot") {
        return run_snapshot(rest);
    }
    if (command == "sandbox") {
        return run_sandbox(rest, [&](const MachineConfig& config) {
            Control control{{}};
            return keep(config, timeline, control);
        });
    }
    if (command == "check") {
        return run_check(rest);
    }
    if (std::ranges::find(kCommandsOfHulld, command) != kCommandsOfHulld.end()) {
        become_hulld(arguments);
    }
    if (command == "--help" || command == "-h") {
        print_help();
        return ExitStatus::success;
    }
    if (command == "--version") {
        std::puts("hull " HULL_VERSION);
        return ExitStatus::success;
    }
    throw Error{ExitStatus::usage, "cannot do '" + command + "'", "it is not a command of hull's",
                "see 'hull --help'"};
}

}  // namespace

}  // namespace hull

int main(int argc, char** argv) {
    hull::Timeline timeline;
    timeline.main = hull::Timeline::Clock::now();
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    timeline.before_main = std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
    const std::vector<std::string> arguments{argv + 1, argv + argc};
    return static_cast<int>(hull::report_errors([&] { return hull::run(arguments, timeline); }));
}
