#include "container/supervisor/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <memory>

#include "base/printable.h"
#include "base/signals.h"
#include "base/small_file.h"
#include "base/unix_address.h"
#include "container/image/json.h"
#include "container/network/resolver.h"

namespace hull::container {

namespace json = boost::json;

namespace {

constexpr int kFailed = 128;  // the machine, or its guest
constexpr std::chrono::seconds kPatience{10};
constexpr size_t kMostConnections = 64;
constexpr size_t kMostExecs = 60;  // at once; an agent runs 64 commands
constexpr size_t kMostEndedExecs = 1024;
constexpr size_t kMostQuestions = 1024;
constexpr size_t kMostWords = 4096;
constexpr size_t kMostRelayed = 64;  // connections with sockets of the host's at once

std::string last_line(const std::string& text) {
    const size_t end = text.find_last_not_of('\n');
    if (end == std::string::npos) {
        return "";
    }
    const size_t before = text.find_last_of('\n', end);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    std::string line = printable(std::string_view{text}.substr(begin, end + 1 - begin), kMostWords);
    constexpr std::string_view kName = "hull: ";
    return line.starts_with(kName) ? line.substr(kName.size()) : line;
}

/// At most so much of what is the user's own text.
std::string shown(const std::string& text) {
    constexpr size_t kMost = 300;
    return text.size() > kMost ? printable(text) : text;
}

/// Why a command was not run, as Docker says it where Docker does: the agent fails at `what`.
std::string why_not_run(const std::string& program, const std::string& user, int error,
                        const std::string& what) {
    if (what.starts_with("to find the user in")) {
        return "unable to find user " + shown(user) + ": no matching entries in passwd file";
    }
    if (what.starts_with("to find the group in")) {
        return "unable to find group " + shown(user.substr(user.find(':') + 1)) +
               ": no matching entries in group file";
    }
    if (what != agent::kToRunIt) {
        return "the agent fails " + what + ": " + errno_text(error);
    }
    const std::string begin = "exec: \"" + shown(program) + "\": ";
    if (error == ENOENT && program.find('/') == std::string::npos) {
        return begin + "executable file not found in $PATH";
    }
    std::string cause = errno_text(error);
    if (!cause.empty() && cause[0] >= 'A' && cause[0] <= 'Z') {
        cause[0] = static_cast<char>(cause[0] - 'A' + 'a');
    }
    return begin + (error == ENOENT ? "stat " + shown(program) + ": " : "") + cause;
}

int status_of_failure(int error, const std::string& what) {
    return what == agent::kToRunIt && error == ENOENT ? kNotFound : kNotExecutable;
}

std::string bytes_of_hexadecimal(const JsonObject& from, const std::string& digits) {
    std::string bytes;
    for (size_t at = 0; at < digits.size(); at += 2) {
        unsigned value = 0;
        const char* const begin = digits.data() + at;
        const char* const end = begin + std::min<size_t>(2, digits.size() - at);
        const auto [stop, error] = std::from_chars(begin, end, value, 16);
        if (error != std::errc{} || stop != begin + 2) {
            from.refuse("'first' is not hexadecimal");
        }
        bytes += static_cast<char>(value);
    }
    return bytes;
}

uint32_t number_up_to(const JsonObject& from, std::string_view key, uint64_t least, uint64_t most) {
    const uint64_t number = from.number(key);
    if (number < least || number > most) {
        from.refuse("'" + std::string{key} + "' is out of range");
    }
    return static_cast<uint32_t>(number);
}

/// A guest's text, which is told as JSON: what is no ASCII is no part of such files.
std::string printable_lines(std::string text) {
    std::ranges::replace_if(
        text, [](char c) { return (c < ' ' && c != '\n' && c != '\t') || c > '~'; }, '?');
    return text;
}

/// What its user has not said of name servers is the host's. Those that it cannot ask itself are asked for
/// it.
void add_host_resolver(ContainerConfig& config) {
    Resolver resolver = host_resolver();
    std::erase_if(resolver.servers, [](const std::string& each) { return !is_for_bridges(each); });
    if (config.name_servers.empty() && resolver.servers.empty()) {
        config.has_names = true;
    }
    const auto fill = [](std::vector<std::string>& list, std::vector<std::string>& with) {
        if (list.empty()) {
            list = std::move(with);
        }
    };
    if (!config.has_names) {
        fill(config.name_servers, resolver.servers);
    }
    fill(config.search_domains, resolver.search);
    fill(config.resolver_options, resolver.options);
}

const std::string kTried = "cannot do what the daemon asks";
const std::string kNoAnswer = "the guest's agent does not answer";

}  // namespace

Supervisor::Supervisor(ContainerFiles files, UniqueFd listener)
    : files_{std::move(files)},
      listener_{std::move(listener)},
      signals_{catch_signals({SIGTERM, SIGINT})},
      next_question_{kFirstQuestion},
      relayed_{loop_, kMostRelayed} {
    signal(SIGPIPE, SIG_IGN);
    fcntl(listener_.get(), F_SETFD, FD_CLOEXEC);
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
    state_.supervisor = getpid();
    loop_.watch(signals_.get(), [this] { kill(); });
    loop_.watch(listener_.get(), [this] { accept_connection(); });
}

// What is told while the members go is told to nobody.
Supervisor::~Supervisor() {
    watched_.reset();
    client_.reset();
}

void Supervisor::run() {
    try {
        boot();
        loop_.run();
        if (run_.is_open_afterwards && !run_.is_quiet && !is_to_be_killed_ && !has_machine_ended_) {
            be_quiet_from_now_on();
            if (!is_done_) {
                loop_.run();
            }
        }
    } catch (const Error& error) {
        fail(error.what());
    }
    end_health();
    loop_.forget(signals_.get());
    if (log_) {
        log_->flush();
    }
    end_machine();
    refuse_transfers();
    tell_end();
    end_clients();
}

/// So that its address and ports are free when that is told.
void Supervisor::tell_end() {
    for (const auto& [number, exec] : execs_) {
        end_exec(number, kBySignal + SIGKILL);  // with the container
    }
    relay_.reset();
    links_.clear();
    state_.stage = RunState::Stage::ended;
    state_.is_paused = false;
    state_.supervisor = 0;
    state_.finished = std::chrono::system_clock::now();
    tell_state();
    for (const Asker& asker : std::exchange(starters_, {})) {
        refuse(asker, state_.error.empty() ? "the container was ended" : state_.error, state_.exit_status);
    }
}

void Supervisor::boot() {
    run_ = RunFile::read(files_);
    if (run_.is_quiet) {
        be_quiet();
    } else {
        size_ = {run_.config.rows, run_.config.columns};
        log_.emplace(files_.log(), run_.log);
        command_ = std::make_unique<SupervisedCommand>(
            loop_,
            SupervisedCommand::Config{.tty = run_.config.tty,
                                      .has_input = run_.config.has_input,
                                      .input_ends_with_client = run_.input_ends_with_client,
                                      .log = &*log_},
            [this] { finish_if_all_came(); });
        if (run_.health) {
            state_.health.emplace();
        }
    }
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a pipe", errno_text(errno)};
    }
    words_from_ = UniqueFd{ends[0]};
    words_to_ = UniqueFd{ends[1]};
    wait_for_disk();
    if (!run_.config.endpoints.empty()) {
        add_host_resolver(run_.config);
        firewall_.emplace();
    }
    std::ranges::move(make_links(), std::back_inserter(run_.machine.words));
    machine_.emplace(run_.config, run_.machine, files_.folder, words_to_.get());
    words_to_.reset();
    if (relay_) {
        relay_->start();  // not before: a process with threads cannot make the machine's
    }
    client_.emplace(
        loop_, std::move(machine_->listener),
        AgentClient::Events{
            .hello = [this] { take_hello(); },
            .failed = [this](uint32_t number, int error,
                             const std::string& what) { take_failure(number, error, what); },
            .exited = [this](uint32_t number, CommandEnd end) { take_end(number, end); },
            .started = [this](uint32_t number) { take_started(number); },
            .contents = [this](uint32_t number, const std::string& bytes) { take_contents(number, &bytes); },
            .connected = [this](agent::Type kind, uint32_t number,
                                UniqueFd fd) { take_connection(kind, number, std::move(fd)); },
            .lost = [this](const std::string& why) { fail(why); }});
    if (run_.config.has_names && !run_.is_quiet) {
        serve_names();
    }
    guest_.emplace(run_.config, run_.machine.layers.size(), *client_);
    watched_.emplace(loop_, std::move(machine_->console), machine_->boot.pidfd(),
                     [this] { take_machines_end(); });
    loop_.watch(words_from_.get(), [this] { take_machines_words(); });
    tell_state();
}

/// The machine of a supervisor that was killed may be a moment behind.
void Supervisor::wait_for_disk() const {
    const UniqueFd disk{open(run_.machine.writable.c_str(), O_RDONLY | O_CLOEXEC)};
    constexpr int kTries = 100;
    constexpr timespec kMoment{0, 50'000'000};
    for (int tries = 0; tries < kTries && flock(disk.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
         ++tries) {
        nanosleep(&kMoment, nullptr);
    }
}

void Supervisor::take_hello() {
    const std::string too_large = run_.is_quiet ? guest_->prepare_root() : guest_->prepare();
    if (!too_large.empty()) {
        fail(too_large);
        return;
    }
    is_guest_ready_ = true;
    serve_waiting();
    if (is_start_asked_) {
        run_command();
    }
}

void Supervisor::run_command() {
    is_command_asked_ = true;
    const bool fits = guest_->run_command([this](agent::FrameWriter& frame) {
        if (run_.config.tty) {
            frame.add_number(agent::kRows, size_.first);
            frame.add_number(agent::kColumns, size_.second);
        }
    });
    if (!fits) {
        state_.error = "the command's words and variables are more than " +
                       std::to_string(agent::kMostRequest >> 10) + " KiB together";
        finish(kNotExecutable);
        return;
    }
    command_->expect();
}

void Supervisor::take_started(uint32_t number) {
    if (number == ContainerGuest::kCommand && is_command_asked_ && state_.stage == RunState::Stage::booting) {
        state_.stage = RunState::Stage::running;
        state_.started = std::chrono::system_clock::now();
        tell_state();
        begin_health();
        for (const Asker& asker : std::exchange(starters_, {})) {
            answer(asker, {{"is", "done"}});
        }
    } else if (const auto exec = execs_.find(number); exec != execs_.end()) {
        exec->second.has_begun = true;
        answer(std::exchange(exec->second.asker, {}), {{"is", "done"}});
    }
}

void Supervisor::take_failure(uint32_t number, int error, const std::string& what) {
    if (number == ContainerGuest::kCommand && is_command_asked_) {
        state_.error = why_not_run(run_.config.command.front(), run_.config.user, error, what);
        finish(what == agent::kToRunIt ? status_of_failure(error, what) : kFailed);
    } else if (const auto exec = execs_.find(number); exec != execs_.end()) {
        const int status = status_of_failure(error, what);
        const ExecConfig& config = exec->second.config;
        refuse(std::exchange(exec->second.asker, {}),
               why_not_run(config.command.front(), config.user.empty() ? run_.config.user : config.user,
                           error, what),
               status);
        end_exec(number, status);
        exec->second.command->release_clients();  // the daemon tells them why
    } else if (health_ && health_->is_running(number)) {
        health_->take_failure("OCI runtime exec failed: exec failed: unable to start container process: " +
                              why_not_run(run_.health->command.front(), run_.config.user, error, what) +
                              ": unknown");
    } else if (questions_.contains(number)) {
        take_contents(number, nullptr);
    } else if (const std::string why = guest_->what_failed(number, error, what); !why.empty()) {
        fail(why);
    }
}

void Supervisor::take_end(uint32_t number, CommandEnd end) {
    if (number == ContainerGuest::kCommand && is_command_asked_ && !has_command_ended_) {
        has_command_ended_ = true;
        state_.exit_status = end.status();
        end_health();
        find_out_of_memory();
        // A guest, or a client that takes nothing, does not keep the container for ever.
        loop_.set_deadline(kPatience, [this] {
            command_->drop_full_clients();
            loop_.set_deadline(kPatience / 5, [this] { finish(state_.exit_status); });
        });
        finish_if_all_came();
    } else if (const auto exec = execs_.find(number); exec != execs_.end()) {
        end_exec(number, end.status());
        if (exec->second.command->have_outputs_ended()) {
            exec->second.command->end_clients();
        }
    } else if (health_ && health_->is_running(number)) {
        tell_watchers({{"is", "probe-ended"}, {"status", end.status()}});
        health_->take_end(end.status());
    }
}

void Supervisor::find_out_of_memory() {
    guest_->read_group(ask([this](const std::string* contents) {
                           constexpr std::string_view kKilled = "oom_kill ";
                           const size_t at =
                               contents == nullptr ? std::string::npos : contents->find("\noom_kill ");
                           state_.is_out_of_memory = at != std::string::npos &&
                                                     contents->compare(at + 1 + kKilled.size(), 1, "0") != 0;
                           is_memory_known_ = true;
                           finish_if_all_came();
                       }),
                       "memory.events");
}

void Supervisor::finish_if_all_came() {
    if (has_command_ended_ && is_memory_known_ && command_->have_outputs_ended()) {
        finish(state_.exit_status);
    }
}

uint32_t Supervisor::ask(Question question) {
    while (questions_.contains(next_question_) || next_question_ >= ContainerGuest::kFirstSetUp) {
        next_question_ = next_question_ >= ContainerGuest::kFirstSetUp ? kFirstQuestion : next_question_ + 1;
    }
    questions_.emplace(next_question_, std::move(question));
    return next_question_++;
}

/// Numbers for so many requests to the agent, which answers them only where they fail, and one for a question
/// behind them: it does all in this order. `done` is called then, with whether all were done.
std::vector<uint32_t> Supervisor::ask_in_turn(size_t count, const std::function<void(bool)>& done) {
    const auto has_failed = std::make_shared<bool>(false);
    std::vector<uint32_t> numbers;
    for (size_t index = 0; index < count; ++index) {
        numbers.push_back(ask([=](const std::string*) { *has_failed = true; }));
    }
    const std::vector<uint32_t> asked = numbers;
    numbers.push_back(ask([this, asked, has_failed, done](const std::string* contents) {
        for (const uint32_t each : asked) {
            questions_.erase(each);
        }
        done(contents != nullptr && !*has_failed);
    }));
    return numbers;
}

void Supervisor::take_contents(uint32_t number, const std::string* contents) {
    if (auto question = questions_.extract(number); !question.empty()) {
        transfers_.erase(number);
        question.mapped()(contents);
    }
}

/// Where nobody listens, or there are too many, the guest's end is closed.
void Supervisor::relay(const std::string& socket, UniqueFd connection) {
    UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    const auto address = UnixAddress::at(socket);
    if (relayed_.has_room() && fd.valid() && address && address->connect(fd.get()) == 0) {
        relayed_.add(std::move(connection), std::move(fd));
    }
}

void Supervisor::take_connection(agent::Type kind, uint32_t number, UniqueFd connection) {
    if (kind == agent::kTransfer) {
        take_transfer(number, connection);
    } else if (kind == agent::kFrames) {
        take_frames(number, std::move(connection));
    } else if (const SharedSocket* const socket = guest_->socket_of(number);
               kind == agent::kRelayed && socket != nullptr) {
        relay(socket->source, std::move(connection));
    } else if (names_ && guest_->is_of_names(number)) {
        if (kind == agent::kDatagrams) {
            names_->take_datagrams(std::move(connection));
        } else if (kind == agent::kRelayed) {
            names_->take_stream(std::move(connection));
        }
    } else if (number == ContainerGuest::kCommand && command_) {
        command_->take(kind, connection);
    } else if (const auto exec = execs_.find(number); exec != execs_.end()) {
        exec->second.command->take(kind, connection);
    } else if (health_ && health_->is_running(number)) {
        health_->take(kind, std::move(connection));
    }
}

void Supervisor::take_machines_words() {
    std::array<char, 1024> part{};
    const ssize_t got = read(words_from_.get(), part.data(), part.size());
    if (got > 0) {
        words_.append(part.data(), static_cast<size_t>(got));
        words_.erase(0, words_.size() - std::min(words_.size(), kMostWords));
    } else if (got == 0) {
        loop_.forget(words_from_.get());
    }
}

void Supervisor::take_machines_end() {
    loop_.forget(machine_->boot.pidfd());
    has_machine_ended_ = true;
    if (is_done_) {
        loop_.stop();
        return;
    }
    size_t had = 0;
    do {
        had = words_.size();
        take_machines_words();
    } while (words_.size() > had);
    std::string why = last_line(words_);
    if (!watched_->could_not_start()) {
        const std::string words = watched_->last_words();
        if (!words.empty()) {
            std::fprintf(stderr, "hull-supervisor: the last words of the guest of %s:\n%s\n",
                         files_.folder.filename().c_str(), words.c_str());
        }
        const std::string console = last_line(words);
        why = "the guest has ended by itself" + (console.empty() ? "" : "; its last words: " + console);
    }
    fail(why.empty() ? "the machine could not start" : why);
}

void Supervisor::finish(int status) {
    if (!std::exchange(is_done_, true)) {
        state_.exit_status = status;
        is_to_be_killed_ = run_.is_thrown_away && !run_.is_quiet && !has_disks();
        loop_.stop();
    }
}

/// What is on these outlives the container, so that no way to end it may lose what its command has written.
bool Supervisor::has_disks() const {
    return std::ranges::find(run_.config.shared, SharedMount::By::disk, &SharedMount::by) !=
           run_.config.shared.end();
}

void Supervisor::fail(const std::string& why) {
    if (!is_done_) {
        state_.error = why;
        finish(has_command_ended_ ? state_.exit_status : kFailed);
        is_to_be_killed_ = true;
    }
}

void Supervisor::kill() {
    if (!is_done_) {
        finish(has_command_ended_ ? state_.exit_status : kBySignal + SIGKILL);
    }
    is_to_be_killed_ = true;
    if (machine_ && !has_machine_ended_) {
        machine_->ask_to_end();
    }
}

/// Its guest brings its disks up to date when the agent's connection ends.
void Supervisor::end_machine() {
    client_.reset();
    questions_.clear();
    if (!machine_) {
        return;
    }
    if (is_to_be_killed_) {
        kill();
    }
    for (int step = is_to_be_killed_ ? 1 : 0; step < 2 && !has_machine_ended_; ++step) {
        loop_.set_deadline(kPatience, [this] { loop_.stop(); });
        loop_.run();
        if (!has_machine_ended_ && step == 0) {
            kill();
        }
    }
    loop_.set_deadline(std::chrono::milliseconds{0}, [] {});
    watched_.reset();
    loop_.forget(words_from_.get());
    machine_.reset();  // which kills what is there still
}

void Supervisor::end_clients() {
    if (command_) {
        command_->end_clients();
    }
    for (auto& [number, exec] : execs_) {
        exec.command->end_clients();
    }
    const auto is_anybody_there = [&] {
        return (command_ && command_->has_clients()) || std::ranges::any_of(execs_, [](const auto& each) {
                   return each.second.command->has_clients();
               });
    };
    const auto end = std::chrono::steady_clock::now() + kPatience;
    constexpr std::chrono::milliseconds kMoment{20};
    while (is_anybody_there() && std::chrono::steady_clock::now() < end) {
        loop_.set_deadline(kMoment, [this] { loop_.stop(); });
        loop_.run();
    }
}

void Supervisor::accept_connection() {
    UniqueFd fd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!fd.valid()) {
        return;
    }
    const int number = fd.get();
    connections_[number] = std::make_shared<Connection>(Connection{Channel{std::move(fd)}});
    loop_.watch(number, [this, number] { take_message(number); });
    if (connections_.size() == kMostConnections) {
        loop_.forget(listener_.get());  // further ones wait
    }
}

void Supervisor::drop(int fd) {
    loop_.forget(fd);
    connections_.erase(fd);
    loop_.watch(listener_.get(), [this] { accept_connection(); });
    rest();
}

void Supervisor::take_message(int fd) {
    const std::shared_ptr<Connection> from = connections_.at(fd);
    std::optional<Channel::Message> message = from->channel.receive();
    if (!message) {
        if (from->channel.is_at_end()) {
            drop(fd);
        }
        return;
    }
    if (!from->is_answered) {
        drop(fd);  // it does not wait for its answer
        return;
    }
    from->is_answered = false;
    try {
        perform(from, *message);
    } catch (const Error& error) {
        refuse(from, error.what(), kNotExecutable);
    }
}

void Supervisor::answer(const Asker& asker, const json::object& what, int descriptor) {
    if (const std::shared_ptr<Connection> to = asker.lock()) {
        to->is_answered = true;
        if (!to->channel.send(what, descriptor)) {
            drop(to->channel.fd());
        }
    }
}

void Supervisor::refuse(const Asker& asker, const std::string& why, int status) {
    answer(asker, {{"is", "failed"}, {"why", why}, {"status", status}});
}

/// To the disk first, so that nobody knows more than it.
void Supervisor::tell_state() {
    if (run_.is_quiet) {
        return;  // of the run before
    }
    try {
        replace_file(files_.state(), state_.to_json());
    } catch (const Error& error) {
        std::fprintf(stderr, "hull-supervisor: %s\n", error.what());
    }
    tell_watchers({{"is", "state"}, {"state", state_.to_object()}});
}

void Supervisor::tell_watchers(const json::object& what) {
    std::vector<Asker> watchers;
    for (const auto& [fd, each] : connections_) {
        if (each->watches) {
            watchers.emplace_back(each);
        }
    }
    for (const Asker& asker : watchers) {
        const std::shared_ptr<Connection> to = asker.lock();
        if (to && !to->channel.send(what)) {
            drop(to->channel.fd());
        }
    }
}

void Supervisor::perform(const std::shared_ptr<Connection>& from, Channel::Message& message) {
    const JsonObject asked{message.what, kTried};
    const std::string what = asked.text("do");
    if (what == "watch") {
        from->watches = true;
        answer(from, {{"is", "state"}, {"state", state_.to_object()}, {"last_exec", last_exec_}});
    } else if (what == "end") {
        if (has_disks() && !run_.is_quiet) {
            finish(has_command_ended_ ? state_.exit_status : kBySignal + SIGKILL);
        } else {
            kill();
        }
        answer(from, {{"is", "done"}});
    } else if (what == "state-of-exec") {
        tell_exec(from, number_up_to(asked, "number", 1, kMostExecNumber));
    } else if (run_.is_quiet) {
        perform_quietly(from, what, message.what);
    } else if (!command_ || is_done_) {
        refuse(from, state_.error.empty() ? "the container has ended" : state_.error, state_.exit_status);
    } else if (what == "keep") {
        run_.is_thrown_away = false;
        answer(from, {{"is", "done"}});
    } else if (client_->is_behind()) {
        refuse(from, kNoAnswer, kFailed);
    } else if (what == "start") {
        if (state_.stage == RunState::Stage::running) {
            answer(from, {{"is", "done"}});
            return;
        }
        starters_.emplace_back(from);
        if (!std::exchange(is_start_asked_, true) && is_guest_ready_) {
            run_command();
        }
    } else if (what == "attach") {
        attach(*command_, message);
        answer(from, {{"is", "done"}});
    } else if (what == "resize") {
        resize(from, message.what);
    } else if (state_.stage != RunState::Stage::running || has_command_ended_) {
        refuse(from, "the container does not run", kFailed);
    } else if (questions_.size() > kMostQuestions) {
        refuse(from, kNoAnswer, kFailed);
    } else if (what == "contents") {
        open_contents(from, message.what);
    } else if (what == "exec") {
        start_exec(from, message);
    } else if (what == "signal") {
        send_signal(from, message.what);
    } else if (what == "freeze") {
        freeze(from, asked.flag("on"));
    } else if (what == "limit") {
        set_limits(from, message.what);
    } else if (what == "plug") {
        plug(from, message.what);
    } else if (what == "unplug") {
        unplug(from, message.what);
    } else if (what == "group") {
        tell_group(from);
    } else if (what == "processes") {
        tell_processes(from);
    } else {
        asked.refuse("nobody knows what '" + what + "' is");
    }
}

void Supervisor::attach(SupervisedCommand& command, Channel::Message& message) {
    const JsonObject asked{message.what, kTried};
    if (!message.descriptor.valid()) {
        asked.refuse("there is no client");
    }
    StreamClient::Config client{.input = asked.flag("input"),
                                .output = asked.flag("output"),
                                .errors = asked.flag("errors"),
                                .first = bytes_of_hexadecimal(asked, asked.text("first"))};
    if (const json::value* const keys = message.what.if_contains("keys"); keys != nullptr) {
        constexpr size_t kMostKeys = 64;
        if (!keys->is_array() || keys->get_array().size() > kMostKeys) {
            asked.refuse("'keys' is no list, or is too long");
        }
        for (const json::value& key : keys->get_array()) {
            if (!key.is_int64() || key.get_int64() < 0 || key.get_int64() > UINT8_MAX) {
                asked.refuse("'keys' has what is no byte");
            }
            client.keys.push_back(static_cast<uint8_t>(key.get_int64()));
        }
    }
    command.attach(std::move(message.descriptor), std::move(client));
}

void Supervisor::start_exec(const Asker& asker, Channel::Message& message) {
    const JsonObject asked{message.what, kTried};
    const uint32_t given = number_up_to(asked, "number", 1, kMostExecNumber);
    const uint32_t number = given + 1;
    const json::value* const config = message.what.if_contains("exec");
    if (config == nullptr || !config->is_object()) {
        asked.refuse("there is no command");
    }
    std::erase_if(execs_, [](const auto& each) {
        return each.second.has_ended && each.second.command->have_outputs_ended() &&
               !each.second.command->has_clients();
    });
    if (execs_.contains(number) || execs_.size() >= kMostExecs) {
        refuse(asker, "so many commands run in the container already", kNotExecutable);
        return;
    }
    Exec exec{.command = nullptr, .config = ExecConfig::from_json(config->get_object()), .asker = asker};
    exec.command = std::make_unique<SupervisedCommand>(
        loop_,
        SupervisedCommand::Config{
            .tty = exec.config.tty, .has_input = exec.config.has_input, .input_ends_with_client = true},
        [this, number] {
            const Exec& ended = execs_.at(number);
            if (ended.has_ended) {
                ended.command->end_clients();
            }
        });
    if (message.descriptor.valid()) {
        attach(*exec.command, message);
    }
    const bool fits = guest_->run_further(number, exec.config, [&](agent::FrameWriter& frame) {
        if (exec.config.tty) {
            const bool has_size = asked.has("rows") && asked.has("columns");
            frame.add_number(agent::kRows, has_size ? number_up_to(asked, "rows", 0, UINT16_MAX) : 0);
            frame.add_number(agent::kColumns, has_size ? number_up_to(asked, "columns", 0, UINT16_MAX) : 0);
        }
    });
    if (!fits) {
        refuse(asker, "its words and variables are too long", kNotExecutable);
        return;
    }
    exec.command->expect();
    std::erase_if(ended_execs_, [&](const auto& each) { return each.first == number; });  // a daemon's before
    execs_.emplace(number, std::move(exec));
    last_exec_ = std::max(last_exec_, given);
}

void Supervisor::end_exec(uint32_t number, int status) {
    Exec& exec = execs_.at(number);
    if (!std::exchange(exec.has_ended, true)) {
        ended_execs_.emplace_back(number, status);
        if (ended_execs_.size() > kMostEndedExecs) {
            ended_execs_.pop_front();
        }
        if (exec.has_begun) {
            tell_watchers({{"is", "exec-ended"}, {"number", number - 1}, {"status", status}});
        }
    }
}

void Supervisor::tell_exec(const Asker& asker, uint32_t number) {
    const auto running = execs_.find(number + 1);
    if (running != execs_.end() && !running->second.has_ended) {
        answer(asker, {{"is", "exec"}, {"running", true}, {"status", 0}});
        return;
    }
    const auto ended = std::ranges::find(ended_execs_, number + 1, &std::pair<uint32_t, int>::first);
    if (ended == ended_execs_.end()) {
        refuse(asker, "there is no such command", kFailed);
        return;
    }
    answer(asker, {{"is", "exec"}, {"running", false}, {"status", ended->second}});
}

void Supervisor::send_signal(const Asker& asker, const json::object& what) {
    const JsonObject asked{what, kTried};
    constexpr uint64_t kMostSignal = 64;
    const uint32_t value = number_up_to(asked, "value", 1, kMostSignal);
    const uint32_t number = asked.has("number") ? number_up_to(asked, "number", 1, kMostExecNumber) + 1
                                                : ContainerGuest::kCommand;
    client_->request(agent::kSignal, number,
                     [&](agent::FrameWriter& frame) { frame.add_number(agent::kValue, value); });
    answer(asker, {{"is", "done"}});
}

void Supervisor::resize(const Asker& asker, const json::object& what) {
    const JsonObject asked{what, kTried};
    const uint32_t rows = number_up_to(asked, "rows", 0, UINT16_MAX);
    const uint32_t columns = number_up_to(asked, "columns", 0, UINT16_MAX);
    uint32_t number = ContainerGuest::kCommand;
    if (asked.has("number")) {
        number = number_up_to(asked, "number", 1, kMostExecNumber) + 1;
    } else {
        size_ = {rows, columns};  // which it gets at its start, too
    }
    if (is_command_asked_) {
        client_->request(agent::kResize, number, [&](agent::FrameWriter& frame) {
            frame.add_number(agent::kRows, rows);
            frame.add_number(agent::kColumns, columns);
        });
    }
    answer(asker, {{"is", "done"}});
}

void Supervisor::freeze(const Asker& asker, bool is_on) {
    const auto numbers = ask_in_turn(1, [this, asker, is_on](bool is_done) {
        if (!is_done) {
            refuse(asker, "the guest cannot freeze its processes", kFailed);
            return;
        }
        state_.is_paused = is_on;
        hold_health(is_on);
        tell_state();
        answer(asker, {{"is", "done"}});
    });
    guest_->write_group(numbers[0], "cgroup.freeze", is_on ? "1" : "0");
    guest_->read_group(numbers[1], "cgroup.freeze");
}

void Supervisor::set_limits(const Asker& asker, const json::object& what) {
    const GroupLimits wanted = limits_from(JsonObject{what, kTried});
    const uint64_t has = ContainerMachine::memory_of(run_.config.group.memory);
    if (ContainerMachine::memory_of(wanted.memory) > has) {
        refuse(
            asker,
            "its machine has " + std::to_string(has >> 20U) +
                " MiB while it runs, and the guest's kernel needs some of it: stop the container before it "
                "gets more memory",
            kFailed);
        return;
    }
    if (ContainerMachine::cpus_for(wanted.cpus) > run_.machine.cpus) {
        refuse(asker,
               "its machine has " + std::to_string(run_.machine.cpus) +
                   " processors while it runs: stop the container before it gets more",
               kFailed);
        return;
    }
    const auto limits = group_limits(wanted);
    const auto numbers = ask_in_turn(limits.size(), [this, asker](bool is_done) {
        if (is_done) {
            answer(asker, {{"is", "done"}});
        } else {
            refuse(asker, "the guest cannot set these limits", kFailed);
        }
    });
    for (size_t count = 0; count < limits.size(); ++count) {
        guest_->write_group(numbers[count], limits[count].first, limits[count].second);
    }
    guest_->read_group(numbers.back(), limits.back().first);
}

void Supervisor::tell_group(const Asker& asker) {
    constexpr std::array kFiles{"cgroup.procs",        "cpu.stat",     "io.stat",     "memory.current",
                                "memory.events",       "memory.max",   "memory.peak", "memory.stat",
                                "memory.swap.current", "pids.current", "pids.max"};
    const auto group = std::make_shared<Group>(Group{.asker = asker, .files = {}, .left = kFiles.size()});
    for (const char* name : kFiles) {
        const uint32_t number = ask([this, group, name](const std::string* contents) {
            if (contents != nullptr) {  // not every kernel has all of them
                constexpr size_t kMostText = 6000;
                group->files[name] = printable_lines(contents->substr(0, kMostText));
            }
            if (--group->left == 0) {
                answer(group->asker, {{"is", "group"}, {"files", group->files}});
            }
        });
        guest_->read_group(number, name);
    }
}

void Supervisor::tell_processes(const Asker& asker) {
    const auto list = std::make_shared<Processes>(Processes{.asker = asker});
    guest_->read_proc(ask([list](const std::string* contents) {
                          list->uptime = contents == nullptr ? 0 : parse_uptime(*contents);
                      }),
                      "uptime");
    guest_->read_proc(ask([list](const std::string* contents) {
                          list->found.memory = contents == nullptr ? 0 : parse_memory(*contents);
                      }),
                      "meminfo");
    guest_->read_group(ask([this, list](const std::string* contents) {
                           list->pids = parse_pids(contents == nullptr ? "" : *contents);
                           if (list->pids.size() > ProcessList::kMost) {
                               refuse(list->asker,
                                      "more than " + std::to_string(ProcessList::kMost) +
                                          " processes run in the container, which are not listed",
                                      kFailed);
                           } else {
                               tell_next_process(list);
                           }
                       }),
                       "cgroup.procs");
}

/// One that has ended meanwhile is left out.
void Supervisor::tell_next_process(const std::shared_ptr<Processes>& list) {
    if (list->asker.expired()) {
        return;
    }
    if (list->next == list->pids.size()) {
        answer(list->asker, list->found.to_json());
        return;
    }
    const std::string folder = std::to_string(list->pids[list->next++]) + "/";
    const auto text_of = [](const std::string* contents) { return contents == nullptr ? "" : *contents; };
    guest_->read_proc(ask([=](const std::string* contents) { list->stat = text_of(contents); }),
                      folder + "stat");
    guest_->read_proc(ask([=](const std::string* contents) { list->status = text_of(contents); }),
                      folder + "status");
    guest_->read_proc(ask([this, list, text_of](const std::string* contents) {
                          auto process =
                              GuestProcess::parse(list->stat, list->status, text_of(contents), list->uptime);
                          if (process) {
                              list->found.all.push_back(*std::move(process));
                          }
                          tell_next_process(list);
                      }),
                      folder + "cmdline");
}

}  // namespace hull::container
