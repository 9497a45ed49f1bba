#include "vmm/main/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/unique_fd.h"
#include "guest/agent/protocol.h"
#include "vmm/main/helper_process.h"
#include "vmm/main/keeper.h"
#include "vmm/main/made_files.h"
#include "vmm/main/root_image.h"
#include "vmm/main/sandbox_options.h"
#include "vmm/main/sandbox_session.h"
#include "vmm/main/system_folders.h"
#include "vmm/main/terminal.h"
#include "vmm/main/user_streams.h"

namespace hull {

namespace fs = std::filesystem;

namespace {

constexpr auto kSandboxFailed = static_cast<ExitStatus>(125);
constexpr uint32_t kGuestCid = 3;  // each machine has sockets of its own, so all may have the same

/// A folder that only its user can enter, with what the machine and the session meet at.
class MeetingPlace {
  public:
    MeetingPlace() {
        const char* run = std::getenv("XDG_RUNTIME_DIR");
        const char* temporary = std::getenv("TMPDIR");
        for (const char* folder : {run, temporary, "/tmp"}) {
            std::string name = folder == nullptr ? "" : std::string{folder} + "/hull-sandbox-XXXXXX";
            if (!name.empty() && mkdtemp(name.data()) != nullptr) {
                path_ = name;
                return;
            }
        }
        throw Error{kSandboxFailed, "cannot make a folder for sockets in /tmp", errno_text(errno),
                    "set TMPDIR to a folder that you may write to"};
    }
    MeetingPlace(const MeetingPlace&) = delete;
    MeetingPlace& operator=(const MeetingPlace&) = delete;
    ~MeetingPlace() { remove(); }

    [[nodiscard]] const fs::path& path() const { return path_; }
    [[nodiscard]] MadeFiles& files() { return files_; }
    [[nodiscard]] fs::path vsock() const { return path_ / "vsock"; }
    /// Whoever is the last does it: the process that made it, or the one that keeps the machine.
    void remove() {
        files_.remove();
        unlink(vsock().c_str());  // is there where the one that keeps the machine was killed
        rmdir(path_.c_str());
    }

  private:
    fs::path path_;
    MadeFiles files_;
};

/// The folder for what comes back, empty.
UniqueFd open_out_folder(const fs::path& path) {
    const std::string tried = "cannot bring files back into '" + path.string() + "' (--out)";
    if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) {
        throw Error{ExitStatus::bad_file, tried, errno_text(errno),
                    "give a folder in one that you may write to"};
    }
    UniqueFd folder{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!folder.valid() || access(path.c_str(), W_OK) != 0) {
        throw Error{ExitStatus::bad_file, tried, errno_text(errno), "give a folder that you may write to"};
    }
    std::error_code error;
    if (!fs::is_empty(path, error) || error) {
        throw Error{ExitStatus::bad_file, tried, error ? error.message() : "it is not empty",
                    "give an empty folder, or one that is not there yet"};
    }
    return folder;
}

/// Adds a file or folder of the user's to what the command finds in /in, where it gets the name that is
/// answered.
std::string bring_in(const fs::path& path, std::vector<ViewConfig::Part>& parts) {
    std::error_code error;
    const fs::path source = fs::canonical(path, error);
    if (error || access(source.c_str(), R_OK) != 0) {
        throw Error{ExitStatus::bad_file, "cannot bring '" + path.string() + "' into the sandbox",
                    error ? error.message() : errno_text(errno), "give a file or folder that you may read"};
    }
    const std::string place = "in/" + (source.has_filename() ? source.filename().string() : "root");
    const bool is_taken =
        std::ranges::any_of(parts, [&](const ViewConfig::Part& part) { return part.place == place; });
    if (is_taken) {
        throw Error{ExitStatus::usage, "cannot bring '" + path.string() + "' into the sandbox",
                    "another file there has the same name", "rename one, or give the folder that has both"};
    }
    parts.push_back({.source = source, .place = place});
    return "/" + place;
}

/// A program of the user's own is brought in, too.
void bring_in_command(SandboxOptions& options, std::vector<ViewConfig::Part>& parts) {
    std::string& program = options.command.front();
    std::error_code error;
    const fs::path file = fs::canonical(program, error);
    const auto is_the_guests = [&] {
        return options.image.empty() ? is_in_system_folder(file) : program.starts_with('/');
    };
    if (program.find('/') == std::string::npos || error || !fs::is_regular_file(file, error) ||
        is_the_guests()) {
        return;  // it is the guest's to find
    }
    const auto found = std::ranges::find_if(parts, [&](const auto& part) { return part.source == file; });
    program = found != parts.end() ? "/" + found->place : bring_in(file, parts);
}

MachineConfig make_config(const SandboxOptions& options, const std::optional<RootImage>& image,
                          std::vector<ViewConfig::Part> parts, const MeetingPlace& place) {
    MachineConfig config;
    config.kernel = options.kernel;
    if (!options.initramfs.empty()) {
        config.initramfs.push_back(options.initramfs);
    }
    config.initramfs.push_back(own_file("hull-agent.initramfs"));
    config.bus = VirtioBus::mmio;  // what is up sooner, and sooner gone
    config.cpus = options.cpus;
    config.memory = options.memory;
    if (image && !image->is_archive()) {
        DiskConfig& disk = config.disks.emplace_back();
        disk.path = options.image;
        disk.use = virtio::DiskUse::read;
    }
    config.view = ViewConfig{.tag = kSandboxTag, .parts = std::move(parts)};
    config.vsock = VsockConfig{.cid = kGuestCid, .path = place.vsock()};
    if (options.user_net) {
        config.nets.push_back(NetConfig::parse("user"));
    }
    config.console.kind = ConsoleConfig::Kind::file;
    config.console.path = place.path() / "console.in";
    config.jail = options.jail;
    config.stop_timeout = std::chrono::milliseconds{0};  // nothing in the guest is worth waiting for
    config.check();
    return config;
}

/// The process that keeps the machine.
[[noreturn]] void become_keeper(const MachineConfig& config, const KeepMachine& keep, MeetingPlace& place,
                                RawTerminal& terminal, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setsid();  // what a terminal sends is the session's to carry
    const UniqueFd nothing{open("/dev/null", O_RDWR | O_CLOEXEC)};
    dup2(nothing.get(), STDIN_FILENO);
    dup2(nothing.get(), STDOUT_FILENO);
    const auto status =
        report_errors([&] { return getppid() == parent ? keep(config) : ExitStatus::forced_stop; });
    if (getppid() != parent) {  // it was killed
        terminal.restore();
        place.remove();
    }
    _exit(static_cast<int>(status));
}

int run(SandboxOptions& options, const KeepMachine& keep) {
    SandboxSession::Files files;
    if (!options.image.empty()) {
        files.image = RootImage::of(options.image);
    }
    // An archive is unpacked by the host's tar, in the guest.
    const bool shows_programs = !files.image || files.image->is_archive();
    std::vector<ViewConfig::Part> parts = shows_programs ? system_parts() : std::vector<ViewConfig::Part>{};
    const size_t system_count = parts.size();
    for (const fs::path& path : options.in) {
        bring_in(path, parts);
    }
    bring_in_command(options, parts);
    files.has_in = parts.size() > system_count;
    if (files.image && files.image->is_archive()) {
        parts.push_back({.source = fs::canonical(options.image), .place = "image"});
    }
    RawTerminal terminal{STDIN_FILENO};
    if (options.tty && !terminal.is_terminal()) {
        throw Error{ExitStatus::usage, "cannot give the command a terminal (--tty)", "standard input is none",
                    "leave --tty out"};
    }
    if (!options.out.empty()) {
        files.out = open_out_folder(options.out);
    }
    MeetingPlace place;
    const MachineConfig config = make_config(options, files.image, std::move(parts), place);
    files.listener = place.files().listen_at(config.vsock->path + "_" + std::to_string(agent::kPort));
    files.console = place.files().open_pipe(config.console.path);

    if (options.tty) {
        terminal.enter();
    }
    const pid_t parent = getpid();
    const pid_t keeper = fork();
    if (keeper == 0) {
        become_keeper(config, keep, place, terminal, parent);
    }
    const auto end = [&] {
        if (keeper > 0) {
            kill(keeper, SIGTERM);
            while (waitpid(keeper, nullptr, 0) < 0 && errno == EINTR) {
            }
        }
        terminal.restore();
    };
    try {
        if (keeper < 0) {
            throw Error{ExitStatus::no_resources, "cannot start the machine's process", errno_text(errno),
                        "raise the limit of processes (ulimit -u)"};
        }
        const UniqueFd pidfd = open_pidfd(keeper);
        files.pidfd = pidfd.get();
        const int status = SandboxSession{options, std::move(files)}.run();
        end();
        return status;
    } catch (...) {
        end();
        throw;
    }
}

}  // namespace

ExitStatus run_sandbox(const std::vector<std::string>& arguments, const KeepMachine& keep) {
    try {
        open_missing_streams();
        SandboxOptions options = parse_sandbox_options(arguments);
        if (options.help) {
            std::fputs(sandbox_help().c_str(), stdout);
            return ExitStatus::success;
        }
        return static_cast<ExitStatus>(run(options, keep));
    } catch (const Error& error) {
        throw Error{kSandboxFailed, std::string{error.what()}};
    }
}

}  // namespace hull
