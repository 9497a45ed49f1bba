#include "vmm/main/sandbox_session.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "vmm/agent/command_surroundings.h"

namespace hull {

namespace {

constexpr int kTimedOut = 124;
constexpr int kSandboxFailed = 125;

// The numbers of requests: the command, what brings files back, what unpacks an
// image, and from here on the guest's preparation.
constexpr uint32_t kCommand = 1;
constexpr uint32_t kFiles = 2;
constexpr uint32_t kUnpacking = 3;
constexpr uint32_t kFirstSetUp = 100;
constexpr uint32_t kFirstRelay = 10'000;
constexpr size_t kMostRelayed = 128;  // connections at once

constexpr uint32_t kMostFiles = 100'000;  // that come back
/// How long a guest may take to come up where there is a time limit at all. An emulated host takes its time.
constexpr std::chrono::milliseconds kMostOfStart{120'000};

// In the guest, before the command's own root is.
constexpr const char* kRoot = "/root";
constexpr const char* kImage = "/image";
constexpr const char* kView = "/view";  // what is seen of the host

/// The variables that the command has.
std::vector<std::string> environment() {
    std::vector<std::string> variables{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                       "HOME=/root", "USER=root", "SHELL=/bin/sh"};
    for (const std::string name : {"TERM", "LANG", "LC_ALL", "LC_CTYPE", "TZ"}) {
        if (const char* value = std::getenv(name.c_str()); value != nullptr) {
            variables.push_back(name + "=" + value);
        }
    }
    return variables;
}

}  // namespace

SandboxSession::SandboxSession(const SandboxOptions& options, Files files)
    : options_{options},
      files_{std::move(files)},
      client_{
          loop_,
          std::move(files_.listener),
          {.hello = [this] { prepare_guest(); },
           .failed = [this](uint32_t number, int error,
                            const std::string& what) { take_failure(number, error, what); },
           .exited =
               [this](uint32_t number, CommandEnd end) {
                   if (number == kCommand) {
                       take_end(end);
                   } else if (number == kUnpacking && phase_ == Phase::unpacking) {
                       take_unpacked(end);
                   }
               },
           .connected = [this](agent::Type kind, uint32_t number,
                               UniqueFd connection) { take_connection(kind, number, std::move(connection)); },
           .lost = [this](const std::string& why) { fail(why); }}},
      streams_{loop_,
               client_,
               {.command = kCommand, .tty = options.tty},
               {.signalled = [this](int number) { take_signal(number); },
                .all_came = [this] { finish_if_all_came(); },
                .quit = [this] { finish(kBySignal + SIGKILL); }}},
      machine_{loop_, std::move(files_.console), files_.pidfd, [this] { take_machines_end(); }},
      relayed_{loop_, kMostRelayed},
      tree_room_(agent::kHeaderSize + agent::kMostReport) {}

int SandboxSession::run() {
    if (options_.timeout) {
        loop_.set_deadline(kMostOfStart, [this] { fail("the guest does not come up"); });
    }
    loop_.run();
    if (!failure_.empty()) {
        machine_.fail(static_cast<ExitStatus>(kSandboxFailed), "cannot go on with the sandbox", failure_);
    }
    return status_;
}

void SandboxSession::take_machines_end() {
    if (machine_.could_not_start()) {
        finish(kSandboxFailed);  // it has said why
    } else {
        fail("the guest has ended by itself");
    }
}

void SandboxSession::finish(int status) {
    if (phase_ != Phase::done) {
        phase_ = Phase::done;
        status_ = status;
        loop_.stop();
    }
}

void SandboxSession::fail(const std::string& why) {
    if (phase_ != Phase::done) {
        failure_ = why;
        finish(0);
    }
}

void SandboxSession::request(agent::Type type, const std::string& what, const AgentClient::Fill& fill) {
    client_.request(type, kFirstSetUp + static_cast<uint32_t>(set_up_.size()), fill);
    set_up_.push_back(what);
}

void SandboxSession::mount_in_guest(const std::string& kind, const char* source, const std::string& path,
                                    uint64_t flags, const std::string& options) {
    request(agent::kMount, path, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kKind, kind.c_str());
        frame.add_text(agent::kSource, source);
        frame.add_text(agent::kPath, path.c_str());
        frame.add_number(agent::kFlags, flags);
        frame.add_text(agent::kOptions, options.c_str());
    });
}

void SandboxSession::make_folder_in_guest(const std::string& path, uint64_t mode) {
    request(agent::kFolder, path, [&](agent::FrameWriter& frame) {
        frame.add_text(agent::kPath, path.c_str());
        frame.add_number(agent::kMode, mode);
    });
}

void SandboxSession::prepare_guest() {
    mount_in_guest("virtiofs", kSandboxTag, kView, MS_RDONLY | MS_NODEV, "");
    mount_in_guest("tmpfs", "layer", "/layer", MS_NODEV, "mode=755");
    make_folder_in_guest("/layer/upper", 0755);
    make_folder_in_guest("/layer/work", 0755);
    if (files_.image && files_.image->is_archive()) {
        unpack_image();
        return;
    }
    std::string lower = kView;
    if (files_.image) {
        lower = kImage;
        // Without its journal, if it has one: nothing is written, nor mended, here.
        mount_in_guest(files_.image->file_system, "/dev/vda", lower, MS_RDONLY | MS_NODEV,
                       files_.image->file_system == "ext4" ? "noload" : "");
    }
    mount_in_guest("overlay", "sandbox", kRoot, MS_NODEV,
                   "lowerdir=" + lower + ",upperdir=/layer/upper,workdir=/layer/work");
    prepare_root();
}

/// By the host's own tar, in the guest: what an archive may do there it may do to a sandbox only.
void SandboxSession::unpack_image() {
    const std::string tools = "/tools";
    mount_in_guest("overlay", "tools", tools, MS_NODEV,
                   std::string{"lowerdir="} + kView + ",upperdir=/layer/upper,workdir=/layer/work");
    mount_in_guest("tmpfs", "rootfs", tools + "/rootfs", MS_NODEV, "mode=755,size=100%");
    client_.request(agent::kRun, kUnpacking, [&](agent::FrameWriter& frame) {
        for (const char* word : {"tar", "--numeric-owner", "-xpf", "/image", "-C", "/rootfs"}) {
            frame.add_text(agent::kArgument, word);
        }
        for (const std::string& variable : environment()) {
            frame.add_text(agent::kEnvironment, variable.c_str());
        }
        frame.add_text(agent::kRoot, tools.c_str());
        frame.add_text(agent::kPath, "/");
    });
    mount_in_guest("none", (tools + "/rootfs").c_str(), kRoot, MS_BIND, "");
    phase_ = Phase::unpacking;
}

void SandboxSession::take_unpacked(CommandEnd end) {
    if (!end.by_signal && end.value == 0) {
        prepare_root();
        return;
    }
    std::array<char, 300> said{};
    const ssize_t got = recv(unpacking_errors_.get(), said.data(), said.size(), MSG_DONTWAIT);
    std::string line{said.data(), static_cast<size_t>(std::max<ssize_t>(got, 0))};
    line.resize(std::min(line.find('\n'), line.size()));
    std::ranges::replace_if(
        line, [](char byte) { return byte < ' ' || byte > '~'; }, ' ');
    fail("the image '" + options_.image.string() + "' cannot be unpacked in the guest" +
         (line.empty() ? "" : ": " + line) + " (is --memory enough for all of it?)");
}

/// All but what its lowest layer is.
void SandboxSession::prepare_root() {
    const std::string root = kRoot;
    const auto make_file = [&](const std::string& path, const std::string& content) {
        request(agent::kFile, path, [&](agent::FrameWriter& frame) {
            frame.add_text(agent::kPath, path.c_str());
            frame.add_number(agent::kMode, 0644);
            frame.add_bytes(agent::kContent, content.data(), content.size());
        });
    };
    const auto set_address = [&](const char* interface, uint64_t address, uint64_t prefix, uint64_t gateway) {
        request(agent::kAddress, interface, [&](agent::FrameWriter& frame) {
            frame.add_text(agent::kSource, interface);
            frame.add_number(agent::kIp, address);
            frame.add_number(agent::kPrefix, prefix);
            frame.add_number(agent::kGateway, gateway);
        });
    };
    mount_in_guest("proc", "proc", root + "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
    mount_in_guest("sysfs", "sys", root + "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "");
    mount_in_guest("devtmpfs", "dev", root + "/dev", MS_NOSUID, "");
    mount_in_guest("devpts", "pts", root + "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=666,mode=620,gid=5");
    mount_in_guest("tmpfs", "shm", root + "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
    for (const char* folder : {"/tmp", "/var/tmp", "/out"}) {
        make_folder_in_guest(root + folder, 01777);
    }
    for (const char* folder : {"/in", "/run", "/root", "/etc"}) {
        make_folder_in_guest(root + folder, 0755);
    }
    if (files_.image && files_.has_in) {
        make_folder_in_guest("/layer/in", 0755);
        make_folder_in_guest("/layer/in-work", 0755);
        mount_in_guest("overlay", "in", root + "/in", MS_NODEV,
                       std::string{"lowerdir="} + kView + "/in,upperdir=/layer/in,workdir=/layer/in-work");
    }
    std::string hosts = "127.0.0.1 localhost hull\n::1 localhost\n";
    for (const AllowedPeer& peer : options_.allowed) {
        in_addr address{};
        address.s_addr = htonl(peer.address);
        hosts += std::string{inet_ntoa(address)} + " " + peer.host + "\n";
    }
    make_file(root + "/etc/hosts", hosts);
    make_file(root + "/etc/hostname", "hull\n");
    set_address("lo", INADDR_LOOPBACK, 8, 0);
    // Who may be reached has its own address in the guest, where the agent listens for it.
    for (size_t index = 0; index < options_.allowed.size(); ++index) {
        const AllowedPeer& peer = options_.allowed[index];
        const auto same = [&](const AllowedPeer& other) { return other.address == peer.address; };
        const bool is_there = peer.address >> 24 == IN_LOOPBACKNET ||
                              std::any_of(options_.allowed.begin(), options_.allowed.begin() + index, same);
        if (!is_there) {
            set_address(("lo:" + std::to_string(index)).c_str(), peer.address, 32, 0);
        }
        client_.request(agent::kRelay, kFirstRelay + static_cast<uint32_t>(index),
                        [&](agent::FrameWriter& frame) {
                            frame.add_number(agent::kIp, peer.address);
                            frame.add_number(agent::kPortNumber, peer.port);
                        });
    }
    if (options_.user_net) {
        set_address("eth0", user_network::kGuest, user_network::kPrefix, user_network::kGateway);
        make_file(root + "/etc/resolv.conf",
                  std::string{"nameserver "} + user_network::kNameServerText + "\n");
    }
    start_command();
}

void SandboxSession::start_command() {
    const bool fits = client_.request(agent::kRun, kCommand, [&](agent::FrameWriter& frame) {
        for (const std::string& word : options_.command) {
            frame.add_text(agent::kArgument, word.c_str());
        }
        for (const std::string& variable : environment()) {
            frame.add_text(agent::kEnvironment, variable.c_str());
        }
        frame.add_text(agent::kRoot, kRoot);
        frame.add_text(agent::kPath, "/in");
        frame.add_number(agent::kCapabilities, kDefaultCapabilities);
        streams_.add_terminal(frame);
    });
    if (!fits) {
        fail("the command's arguments are more than " + std::to_string(agent::kMostRequest >> 10) +
             " KiB together");
        return;
    }
    phase_ = Phase::running;
    if (options_.timeout) {
        loop_.set_deadline(*options_.timeout, [this] { finish(kTimedOut); });
    }
    streams_.expect();
}

void SandboxSession::take_failure(uint32_t number, int error, const std::string& what) {
    if (number == kCommand && phase_ == Phase::running) {
        std::fprintf(stderr, "hull: cannot run '%s' in the sandbox: %s\n", options_.command.front().c_str(),
                     errno_text(error).c_str());
        finish(error == ENOENT ? kNotFound : kNotExecutable);
    } else if (number == kUnpacking) {
        fail("the image cannot be unpacked: the agent fails " + what + " tar (" + errno_text(error) +
             "), which is the host's own; install it");
    } else if (number >= kFirstRelay && number - kFirstRelay < options_.allowed.size()) {
        fail("the agent fails " + what + " to " + options_.allowed[number - kFirstRelay].host + ": " +
             errno_text(error));
    } else if (number == kFiles) {
        fail("what the command left cannot be had: the agent fails " + what + " (" + errno_text(error) + ")");
    } else if (number >= kFirstSetUp && number - kFirstSetUp < set_up_.size()) {
        fail(set_up_[number - kFirstSetUp] == kImage && error == ENODEV
                 ? "the guest's kernel does not know the image's file system (" + files_.image->file_system +
                       ")"
                 : "the agent fails " + what + ", '" + set_up_[number - kFirstSetUp] +
                       "': " + errno_text(error));
    }
}

void SandboxSession::take_connection(agent::Type kind, uint32_t number, UniqueFd connection) {
    if (kind == agent::kRelayed) {
        relay(number, std::move(connection));
        return;
    }
    if (kind == agent::kErrors && number == kUnpacking && phase_ == Phase::unpacking &&
        !unpacking_errors_.valid()) {
        unpacking_errors_ = std::move(connection);
    } else if (kind == agent::kTree && number == kFiles && std::exchange(files_are_awaited_, false)) {
        tree_connection_ = std::move(connection);
        tree_.emplace(std::move(files_.out),
                      ReceivedTree::Limits{.bytes = options_.out_limit, .entries = kMostFiles});
        tree_reader_.emplace(tree_room_.data(), tree_room_.size());
        loop_.watch(tree_connection_.get(), [this] { take_tree(); });
    } else {
        streams_.take(kind, number, connection);  // or nobody has asked for it
    }
}

void SandboxSession::take_end(CommandEnd end) {
    if (phase_ != Phase::running) {
        return;
    }
    phase_ = Phase::collecting;
    status_ = end.status();
    // What it has left running would keep its streams open.
    client_.request(agent::kSignal, agent::kEveryCommand,
                    [](agent::FrameWriter& frame) { frame.add_number(agent::kValue, SIGKILL); });
    finish_if_all_came();
}

void SandboxSession::finish_if_all_came() {
    if (phase_ != Phase::collecting || !streams_.have_all_come()) {
        return;
    }
    if (!files_.out.valid()) {
        finish(status_);
    } else if (!tree_) {
        files_are_awaited_ = true;
        client_.request(agent::kSendTree, kFiles, [](agent::FrameWriter& frame) {
            frame.add_text(agent::kPath, (std::string{kRoot} + "/out").c_str());
        });
    }
}

void SandboxSession::take_tree() {
    const ssize_t got = recv(tree_connection_.get(), tree_reader_->space(), tree_reader_->space_size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    tree_reader_->add(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    for (agent::Frame frame; tree_reader_->next(frame);) {
        if (const auto taken = tree_->take(frame); !taken) {
            fail("what the command left is not all there: " + taken.error());
            return;
        }
    }
    if (!tree_->is_whole() && (got <= 0 || tree_reader_->is_bad())) {
        fail("what the command left is not all there: the agent ended too soon");
    } else if (tree_->is_whole()) {
        if (tree_->links_left_out() > 0) {
            std::fprintf(stderr, "hull: left out %u symbolic links that lead out of /out\n",
                         tree_->links_left_out());
        }
        finish(status_);
    }
}

/// Connects to who is allowed; where nobody answers, or there are too many, the guest's end is closed.
void SandboxSession::relay(uint32_t number, UniqueFd connection) {
    if (number < kFirstRelay || number - kFirstRelay >= options_.allowed.size() || !relayed_.has_room()) {
        return;
    }
    const AllowedPeer& peer = options_.allowed[number - kFirstRelay];
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(peer.port);
    address.sin_addr.s_addr = htonl(peer.address);
    UniqueFd fd{socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (fd.valid() && (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
                       errno == EINPROGRESS)) {
        // What is sent before it is connected waits; if it cannot be, reading and writing fail.
        relayed_.add(std::move(connection), std::move(fd));
    }
}

void SandboxSession::take_signal(int number) {
    const bool ends = number != SIGUSR1 && number != SIGUSR2;
    // The first is the command's to obey; the second is not.
    if (ends && (phase_ != Phase::running || std::exchange(ended_by_user_, true))) {
        finish(kBySignal + number);
        return;
    }
    streams_.send_signal(number);
}

}  // namespace hull
