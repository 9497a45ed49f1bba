#include "guest/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/agent/contents.h"
#include "guest/agent/redirect.h"
#include "guest/agent/requests.h"
#include "guest/agent/tree.h"

namespace hull::agent {

namespace {

int duplicate(int fd) {
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

bool send_all(int fd, const uint8_t* bytes, size_t size) {
    while (size > 0) {
        const ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        bytes += sent < 0 ? 0 : sent;
        size -= sent < 0 ? 0 : static_cast<size_t>(sent);
    }
    return true;
}

bool bind_at_address(int listener, uint64_t address, uint16_t port) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(static_cast<uint32_t>(address));
    where.sin_port = htons(port);
    return bind(listener, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
}

uint16_t port_of(int bound) {
    sockaddr_in where{};
    socklen_t size = sizeof where;
    getsockname(bound, reinterpret_cast<sockaddr*>(&where), &size);
    return ntohs(where.sin_port);
}

bool bind_at_path(int listener, const Request& request) {
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    const size_t length = strlen(request.path);
    if (length >= sizeof where.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(where.sun_path, request.path, length);
    return bind(listener, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0 &&
           chmod(request.path, static_cast<mode_t>(request.mode)) == 0;
}

}  // namespace

bool Agent::serve() {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, nullptr);
    signal(SIGPIPE, SIG_IGN);
    children_ = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    control_ = connect_();
    if (control_ < 0 || children_ < 0) {
        return false;
    }
    FrameWriter hello{report_, sizeof report_, kHello, 0};
    hello.add_number(kVersionTag, kVersion);
    report(hello);
    for (;;) {
        wait();
        if (entries_[1].revents != 0) {
            reap();
        }
        if (entries_[0].revents != 0 && !take_control()) {
            return !malformed_;
        }
    }
}

/// Waits until something happens, and does what is not the control connection's.
void Agent::wait() {
    entries_[0] = {control_, POLLIN, 0};
    entries_[1] = {children_, POLLIN, 0};
    const size_t relays = relay_count_;
    for (size_t index = 0; index < relays; ++index) {
        entries_[2 + index] = {relays_[index].listener, POLLIN, 0};
    }
    pollfd* const carried = entries_ + 2 + relays;
    datagrams_.wants(carried);
    pollfd* const plugged = carried + Datagrams::kEntries;
    interfaces_.wants(plugged);
    pollfd* const pumped = plugged + Interfaces::kEntries;
    const size_t count = pumps_.wants(pumped);
    if (poll(entries_, static_cast<size_t>(pumped - entries_) + count, -1) < 0) {
        entries_[0].revents = entries_[1].revents = 0;
        return;
    }
    datagrams_.serve(carried);
    interfaces_.serve(plugged);
    pumps_.serve(pumped, count);
    for (size_t index = 0; index < relays; ++index) {
        if (entries_[2 + index].revents != 0) {
            take_relayed(relays_[index]);
        }
    }
}

/// False at the end of the connection, or where it is broken.
bool Agent::take_control() {
    const ssize_t got = recv(control_, reader_.space(), reader_.space_size(), MSG_DONTWAIT);
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    reader_.add(static_cast<size_t>(got));
    for (Frame frame; reader_.next(frame);) {
        if (!take(frame)) {
            malformed_ = true;
            report_failure(frame.number, {EBADMSG, "to read a request"});
            return false;
        }
    }
    malformed_ = reader_.is_bad();
    return !malformed_;
}

/// False where the request is malformed.
bool Agent::take(const Frame& frame) {
    if (frame.type == kRun) {
        return run(frame);
    }
    Request request;
    if (!request.parse(frame)) {
        return false;
    }
    switch (frame.type) {
        case kSignal:
            send_signal(frame.number, static_cast<int>(request.signal));
            break;
        case kResize:
            resize(frame.number, request);
            break;
        case kSendTree:
            send_tree_of(frame.number, request.path);
            break;
        case kRead:
            read_file(frame.number, request.path);
            break;
        case kLook:
        case kPack:
        case kUnpack:
        case kCompare:
            transfer(frame.type, frame.number, request);
            break;
        case kRelay:
        case kRelaySocket:
            relay(frame.number, request);
            break;
        case kRelayPort:
            relay_port(frame.number, request);
            break;
        case kPlug:
            plug(frame.number, request);
            break;
        default:
            if (const Failure failure = perform(frame.type, request); failure.error != 0) {
                report_failure(frame.number, failure);
            }
            break;
    }
    return true;
}

Agent::Command* Agent::find(uint32_t number) {
    for (Command& command : commands_) {
        if (command.process != 0 && command.number == number) {
            return &command;
        }
    }
    return nullptr;
}

bool Agent::run(const Frame& frame) {
    request_ = RunRequest{};
    if (!request_.parse(frame, words_) || frame.number == kEveryCommand || find(frame.number) != nullptr) {
        return false;
    }
    Command* place = commands_;
    while (place < commands_ + kMostCommands && place->process != 0) {
        ++place;
    }
    if (place == commands_ + kMostCommands) {
        report_failure(frame.number, {EAGAIN, "to run so many commands"});
        return true;
    }
    const Command* other = request_.joins ? find(request_.joined) : nullptr;
    if (request_.joins && other == nullptr) {
        report_failure(frame.number, {ESRCH, "to join the other command"});
        return true;
    }
    const char* path = request_.root == nullptr ? "/" : request_.root;
    const int root = other != nullptr ? duplicate(other->root) : open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pid_t process = 0;
    CommandStreams streams;
    const Failure failure =
        root < 0 ? Failure{errno, "to enter the root folder"}
                 : start(request_, other == nullptr ? 0 : other->process, root, process, streams);
    if (failure.error != 0) {
        close(root);
        report_failure(frame.number, failure);
        return true;
    }
    *place = {frame.number, process, streams.terminal < 0 ? -1 : duplicate(streams.terminal), root,
              request_.is_apart()};
    if (!connect_streams(frame.number, streams)) {
        kill(-process, SIGKILL);
        report_failure(frame.number, {errno, "to connect its streams"});
        return true;
    }
    report(FrameWriter{report_, sizeof report_, kStarted, frame.number});
    return true;
}

int Agent::open_stream(Type type, uint32_t number) {
    const int stream = connect_();
    if (stream >= 0) {
        uint8_t header[kHeaderSize];
        const FrameWriter frame{header, sizeof header, type, number};
        send_all(stream, header, frame.size());
    }
    return stream;
}

void Agent::carry_both_ways(int one, int other) {
    const int again = duplicate(one);
    const int other_again = duplicate(other);
    pumps_.add(one, other);
    pumps_.add(other_again, again);
}

/// The command's ends are the pumps' from here on.
bool Agent::connect_streams(uint32_t number, const CommandStreams& streams) {
    if (streams.terminal >= 0) {
        const int stream = open_stream(kTerminal, number);
        if (stream < 0) {
            close(streams.terminal);
            return false;
        }
        carry_both_ways(stream, streams.terminal);
        return true;
    }
    const int input = open_stream(kInput, number);
    const int output = open_stream(kOutput, number);
    const int errors = open_stream(kErrors, number);
    return static_cast<int>(pumps_.add(input, streams.input)) &
           static_cast<int>(pumps_.add(streams.output, output)) &
           static_cast<int>(pumps_.add(streams.errors, errors)) &
           static_cast<int>(input >= 0 && output >= 0 && errors >= 0);
}

void Agent::send_signal(uint32_t number, int signal) {
    if (number == kEveryCommand) {
        // To all processes: only as the guest's first, which is no part of them.
        if (getpid() == 1) {
            kill(-1, signal);
        }
    } else if (const Command* command = find(number)) {
        kill(command->is_apart ? command->process : -command->process, signal);
    }
}

void Agent::resize(uint32_t number, const Request& request) {
    if (const Command* command = find(number); command != nullptr && command->terminal >= 0) {
        set_size(command->terminal, static_cast<uint16_t>(request.rows),
                 static_cast<uint16_t>(request.columns));
    }
}

void Agent::send_tree_of(uint32_t number, const char* path) {
    // A process of its own: it may be much, and others go on meanwhile.
    const pid_t process = fork();
    if (process == 0) {
        const int stream = open_stream(kTree, number);
        _exit(stream >= 0 && send_tree(stream, path) ? 0 : 1);
    }
    if (process < 0) {
        report_failure(number, {errno, "to make a process"});
    }
}

void Agent::transfer(uint32_t type, uint32_t number, const Request& request) {
    const pid_t process = fork();
    if (process == 0) {
        // No other file: an end of a pipe that stays open here would keep a command waiting.
        const int stream = open_stream(kTransfer, number);
        if (stream < 0 || !close_all_but(stream, -1)) {
            _exit(1);
        }
        serve_contents(type, request, stream);
        _exit(0);
    }
    if (process < 0) {
        report_failure(number, {errno, "to make a process"});
    }
}

void Agent::read_file(uint32_t number, const char* path) {
    static uint8_t bytes[kMostRead];
    const int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    size_t have = 0;
    ssize_t got = file < 0 ? -1 : 1;
    while (got > 0 && have < sizeof bytes) {
        got = read(file, bytes + have, sizeof bytes - have);
        have += got > 0 ? static_cast<size_t>(got) : 0;
    }
    const int error = errno;
    close(file);
    if (got < 0) {
        report_failure(number, {error, "to read a file"});
        return;
    }
    FrameWriter contents{report_, sizeof report_, kContents, number};
    contents.add_bytes(kContent, bytes, have);
    report(contents);
}

void Agent::relay(uint32_t number, const Request& request) {
    if (relay_count_ == kMostRelays) {
        report_failure(number, {EAGAIN, "to listen at so many addresses"});
        return;
    }
    constexpr int kBacklog = 128;
    const bool is_file = request.path != nullptr;
    const int listener = socket(is_file ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 ||
        !(is_file ? bind_at_path(listener, request)
                  : bind_at_address(listener, request.address, static_cast<uint16_t>(request.port))) ||
        listen(listener, kBacklog) != 0) {
        report_failure(number, {errno, "to listen for connections"});
        close(listener);
        return;
    }
    relays_[relay_count_++] = {number, listener};
}

void Agent::relay_port(uint32_t number, const Request& request) {
    constexpr int kBacklog = 128;
    const auto wanted = static_cast<uint16_t>(request.port);
    const bool is_elsewhere = request.group != nullptr;
    const int sockets = SOCK_CLOEXEC | SOCK_NONBLOCK;
    const int datagrams = socket(AF_INET, SOCK_DGRAM | sockets, 0);
    const int listener = socket(AF_INET, SOCK_STREAM | sockets, 0);
    // One port for both: that which is free for the first is so for the second, this early.
    const bool is_there =
        bind_at_address(datagrams, request.address, is_elsewhere ? 0 : wanted) &&
        bind_at_address(listener, request.address, port_of(datagrams)) && listen(listener, kBacklog) == 0 &&
        (!is_elsewhere ||
         redirect(request.group, static_cast<uint32_t>(request.address), wanted, port_of(datagrams)));
    const int error = errno;
    const bool has_room = relay_count_ < kMostRelays && !datagrams_.has_begun();
    const int stream = is_there && has_room ? open_stream(kDatagrams, number) : -1;
    if (stream < 0) {
        report_failure(number, {!is_there ? error : !has_room ? EAGAIN : errno, "to listen at a port"});
        close(datagrams);
        close(listener);
        return;
    }
    relays_[relay_count_++] = {number, listener};
    datagrams_.begin(datagrams, stream);
}

void Agent::plug(uint32_t number, const Request& request) {
    constexpr const char* kTried = "to make a network interface";
    if (request.content.size != kMacSize || !interfaces_.has_room()) {
        report_failure(number, {request.content.size != kMacSize ? EINVAL : EAGAIN, kTried});
        return;
    }
    const int tap = make_interface(request.source, request.content.bytes);
    const int stream = tap < 0 ? -1 : open_stream(kFrames, number);
    if (stream < 0) {
        report_failure(number, {errno, kTried});
        close(tap);
        return;
    }
    interfaces_.add(tap, stream);
}

void Agent::take_relayed(const Relay& relay) {
    const int client = accept4(relay.listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) {
        return;
    }
    const int stream = open_stream(kRelayed, relay.number);
    if (stream < 0) {
        close(client);
        return;
    }
    carry_both_ways(client, stream);
}

/// Whatever has ended, orphans of commands included.
void Agent::reap() {
    signalfd_siginfo ignored{};
    [[maybe_unused]] const ssize_t got = read(children_, &ignored, sizeof ignored);
    int status = 0;
    for (pid_t process = 0; (process = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (Command& command : commands_) {
            if (command.process != process) {
                continue;
            }
            FrameWriter exited{report_, sizeof report_, kExited, command.number};
            if (WIFSIGNALED(status)) {
                exited.add_number(kBySignal, static_cast<uint64_t>(WTERMSIG(status)));
            } else {
                exited.add_number(kStatus, static_cast<uint64_t>(WEXITSTATUS(status)));
            }
            report(exited);
            if (command.terminal >= 0) {
                close(command.terminal);
            }
            close(command.root);
            command = Command{};
        }
    }
}

void Agent::report(const FrameWriter& frame) {
    // A host that is gone is noticed where it is read from.
    send_all(control_, report_, frame.size());
}

void Agent::report_failure(uint32_t number, const Failure& failure) {
    FrameWriter frame{report_, sizeof report_, kFailed, number};
    frame.add_number(kError, static_cast<uint64_t>(failure.error));
    frame.add_text(kText, failure.what);
    report(frame);
}

}  // namespace hull::agent
