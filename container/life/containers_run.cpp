// Of Containers: how they start, go on and end.
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/small_file.h"
#include "container/life/container_entry.h"
#include "container/life/containers.h"
#include "container/life/host_ports.h"

namespace hull::container {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;
using Stage = ContainerView::Stage;

namespace {

/// Of a supervisor, begun at that time, that has not answered.
std::string why_it_ended(const ContainerFiles& files, system_clock::time_point begun) {
    std::string why;
    try {
        const RunState state = RunState::from_json(file_text(files.state()));
        why = state.finished >= begun ? state.error : "";  // not that of another run
    } catch (const Error&) {
        // It has written nothing.
    }
    return why.empty() ? "its supervisor was killed, or its guest does not come up" : why;
}

}  // namespace

void Containers::start(const std::string& name) {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    start_now(container);
}

void Containers::start_now(const std::shared_ptr<Container>& container) {
    {
        std::unique_lock lock{mutex_};
        if (container->stage == Stage::running) {
            throw ApiError{304, ""};
        }
        if (container->stage == Stage::paused) {
            throw ApiError{409, "cannot start a paused container, try unpause instead"};
        }
        if (container->stage == Stage::removing) {
            throw ApiError{409, "container is marked for removal and cannot be started"};
        }
        // One that waits to be started again, or is about to be told as ended, is left by its follower.
        container->was_stopped = true;
        container->is_kept = true;
        changed_.notify_all();
        changed_.wait(lock, [&] { return !container->is_followed || is_stopping_; });
        container->was_stopped = false;
        container->is_kept = false;
        container->restarts = 0;
    }
    write_record(*container);
    end_helper(*container, "settle");
    try {
        Channel watch = launch(container);
        const std::lock_guard lock{mutex_};
        follow(container, std::move(watch));
    } catch (const std::exception&) {
        leave_networks(*container);
        std::unique_lock lock{mutex_};
        if (container->spec()->is_removed_at_end) {
            discard(container, lock, true);
        }
        throw;
    }
}

/// Of which the caller has a Hold.
StoredImage Containers::image_of(const Container& container) const {
    if (auto image = store_.find(container.spec()->image)) {
        return *std::move(image);
    }
    throw ApiError{404, "No such image: " + container.spec()->image_name};
}

/// What the container is, and the machine for it, without what is of a single run.
RunFile Containers::run_of(const Container& container, const StoredImage& image) const {
    RunFile run = container.spec()->run;
    run.is_quiet = false;
    run.config.endpoints.clear();
    run.machine.ports.clear();  // of the run before, where another daemon had that
    const GuestKernel kernel = find_guest_kernel(kernel_, "a container");
    run.machine.kernel = kernel.kernel;
    run.machine.initramfs = kernel.initramfs;
    run.machine.layers = image.layers;
    run.machine.writable = container.files.disk();
    run.machine.is_writable_kept = true;
    run.machine.cpus = ContainerMachine::cpus_for(run.config.group.cpus);
    return run;
}

/// Starts a supervisor, gives it the clients that wait, and has it run the command. Answers the channel that
/// tells how it goes on. Throws what kept the command from running; nothing is left then.
Channel Containers::launch(const std::shared_ptr<Container>& container) {
    std::vector<AttachedClient> clients;
    std::string name;
    bool is_first_start = false;
    {
        const std::lock_guard lock{mutex_};
        clients = std::exchange(container->waiting, {});
        name = container->name;
        is_first_start = container->state.started == system_clock::time_point{};
    }
    const ContainerFiles& files = container->files;
    const std::shared_ptr<const ContainerSpec> spec = container->spec();
    const Store::Hold hold = store_.hold();
    const StoredImage image = image_of(*container);
    std::vector<PortBinding> ports;
    std::vector<Attachment> networks;
    RunFile run = run_of(*container, image);
    enter_networks(*container, run.config);
    share_with(*container, is_first_start, run.config);
    const bool is_reached =
        run.config.has_network && (run.config.endpoints.empty() || run.config.way_out() != nullptr);
    for (const PortBinding& port : is_reached ? spec->ports : std::vector<PortBinding>{}) {
        for (const PortBinding& found : find_host_ports(port, name)) {
            ports.push_back(found);
            run.machine.ports.push_back(port_word(found));
        }
    }
    run.write(files);
    const system_clock::time_point begun = system_clock::now();
    start_supervisor_(files);
    container->has_helper = run.is_open_afterwards;
    Channel watch = Channel::connect(files.socket());
    std::optional<json::object> answer;
    if (watch.valid() && watch.send({{"do", "watch"}})) {
        for (AttachedClient& client : clients) {
            ask(files, client_message("attach", client), client.socket.get());
        }
        constexpr std::chrono::minutes kForABoot{5};
        answer = ask(files, {{"do", "start"}}, -1, kForABoot);
    }
    if (!is_done(answer)) {
        if (!answer) {
            ask(files, {{"do", "end"}});  // where it is there still, its guest does not come up
        }
        const std::string why = answer ? text_in(*answer, "why") : why_it_ended(files, begun);
        const int64_t status = answer ? number_in(*answer, "status") : kKilled;
        const std::lock_guard lock{mutex_};
        container->state = {};
        container->state.stage = RunState::Stage::ended;
        container->state.exit_status = static_cast<int>(status);
        container->state.error = why;
        const bool is_commands_fault = status == kNotFound || status == kNotExecutable;
        throw ApiError{is_commands_fault ? 400U : 500U,
                       is_commands_fault ? "failed to create task for container: unable to start container "
                                           "process: " +
                                               why + ": unknown"
                                         : why};
    }
    {
        const std::lock_guard lock{mutex_};
        container->stage = Stage::running;
        container->state = {};  // until then it is how it ended before
        container->state.stage = RunState::Stage::running;
        container->state.started = system_clock::now();  // until it says so itself
        if (spec->run.health) {
            container->state.health.emplace();
        }
        container->ports = std::move(ports);
        networks = container->networks;
    }
    tell_of_networks(*container, networks, "connect");
    tell_of_volumes(*container, "mount");
    tell(*container, "start");
    return watch;
}

/// On a thread of its own, until the container has ended and is not started again. The caller has mutex_.
void Containers::follow(const std::shared_ptr<Container>& container, std::optional<Channel> watch) {
    container->is_followed = true;
    ++followers_;
    try {
        std::thread{[this, container, channel = std::move(watch)]() mutable {
            std::string failure;
            try {
                follow_to_the_end(container, std::move(channel));
            } catch (const std::exception& error) {
                failure = error.what();
            }
            const std::lock_guard lock{mutex_};
            if (!failure.empty()) {
                log_warning("the container '" + container->name + "' is no longer followed: " + failure);
            }
            container->is_followed = false;
            --followers_;
            changed_.notify_all();
        }}.detach();
    } catch (const std::system_error& error) {
        container->is_followed = false;
        --followers_;
        throw Error{ExitStatus::no_resources, "cannot follow a container", error.what()};
    }
}

void Containers::follow_to_the_end(const std::shared_ptr<Container>& container,
                                   std::optional<Channel> watch) {
    constexpr milliseconds kShortest{100};
    constexpr milliseconds kLongest{60'000};
    constexpr seconds kWell{10};  // who ran as long does not fail at once
    milliseconds pause = kShortest;
    for (;;) {
        if (watch) {
            if (!follow_run(container, *watch)) {
                return;
            }
            take_end(*container);
        }
        std::unique_lock lock{mutex_};
        if (watch && container->state.finished - container->state.started > kWell) {
            pause = kShortest;
        }
        if (container->was_stopped ||
            !wants_restart(container->spec()->restart, container->state.exit_status, container->restarts)) {
            container->stage = Stage::exited;
            if (container->spec()->is_removed_at_end && !container->is_kept) {
                discard(container, lock, true);
            }
            return;
        }
        container->stage = Stage::restarting;
        ++container->restarts;
        changed_.wait_for(lock, pause, [&] { return container->was_stopped || is_stopping_; });
        pause = std::min(2 * pause, kLongest);
        if (is_stopping_) {
            return;
        }
        watch.reset();
        if (container->was_stopped) {
            container->stage = Stage::exited;
            continue;
        }
        lock.unlock();
        try {
            watch.emplace(launch(container));
            const std::lock_guard again{mutex_};
            if (container->was_stopped) {
                ask(container->files, {{"do", "end"}});  // whoever wants its end found nobody to tell
            }
        } catch (const std::exception& error) {
            leave_networks(*container);
            const std::lock_guard again{mutex_};
            log_warning("the container '" + container->name + "' cannot be started again: " + error.what());
            container->state.finished = system_clock::now();
            if (container->state.exit_status == 0) {
                container->state.exit_status = kNotFound;
            }
        }
    }
}

/// Takes what a supervisor tells until it is gone. False where this daemon is to end first.
bool Containers::follow_run(const std::shared_ptr<Container>& container, Channel& watch) {
    for (;;) {
        std::array<pollfd, 2> entries{pollfd{watch.fd(), POLLIN, 0}, pollfd{stop_.get(), POLLIN, 0}};
        if (poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) {
            return false;
        }
        if (entries[1].revents != 0) {
            return false;
        }
        if (entries[0].revents == 0) {
            continue;
        }
        const std::optional<Channel::Message> message = watch.receive();
        if (!message) {
            if (watch.is_at_end()) {
                return true;
            }
            continue;
        }
        const std::optional<RunState> state = state_in(message->what);
        if (!state) {
            take_report(container, message->what);
            continue;
        }
        const std::lock_guard lock{mutex_};
        container->state = *state;
        if (state->stage == RunState::Stage::running) {
            container->stage = state->is_paused ? Stage::paused : Stage::running;
            changed_.notify_all();
        }
        if (state->stage == RunState::Stage::ended) {
            return true;
        }
    }
}

/// A run has ended, or its supervisor was killed.
void Containers::take_end(Container& container) {
    RunState state;
    const std::vector<Attachment> networks = leave_networks(container);
    {
        const std::lock_guard lock{mutex_};
        if (container.state.stage != RunState::Stage::ended) {
            note_death(container);
        }
        container.ports.clear();
        container.stage = Stage::exited;  // before anybody is told
        state = container.state;
    }
    if (state.is_out_of_memory) {
        tell(container, "oom");
    }
    tell(container, "die", {{"exitCode", std::to_string(state.exit_status)}});
    tell_of_networks(container, networks, "disconnect");
    tell_of_volumes(container, "unmount");
}

void Containers::require_running(const Container& container) const {
    const std::lock_guard lock{mutex_};
    if (container.stage != Stage::running && container.stage != Stage::paused) {
        throw ApiError{409, "Container " + container.id + " is not running"};
    }
}

void Containers::stop(const std::string& name, std::optional<seconds> timeout, std::optional<int> signal) {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    if (!stop_now(container, timeout, signal)) {
        throw ApiError{304, ""};
    }
}

/// False where it does not run.
bool Containers::stop_now(const std::shared_ptr<Container>& container, std::optional<seconds> timeout,
                          std::optional<int> signal) {
    const std::shared_ptr<const ContainerSpec> spec = container->spec();
    std::unique_lock lock{mutex_};
    if (!container->is_followed) {
        return false;
    }
    container->was_stopped = true;
    changed_.notify_all();
    const auto send = [&](int number) {
        lock.unlock();
        tell(*container, "kill", {{"signal", std::to_string(number)}});  // before what comes of it is told
        ask(container->files, {{"do", "signal"}, {"value", number}});
        lock.lock();
    };
    const auto has_ended = [&] { return !container->is_followed || is_stopping_; };
    if (container->stage != Stage::restarting) {
        const seconds patience = timeout.value_or(spec->stop_timeout);
        send(signal.value_or(spec->stop_signal));
        if (patience < seconds{0}) {
            changed_.wait(lock, has_ended);
        }
        constexpr seconds kForTheKernel{10};
        if (!changed_.wait_for(lock, std::min(patience, seconds{std::chrono::hours{24}}), has_ended)) {
            send(SIGKILL);
            if (!changed_.wait_for(lock, kForTheKernel, has_ended)) {
                lock.unlock();
                ask(container->files, {{"do", "end"}});  // its guest does not obey
                lock.lock();
            }
        }
    }
    changed_.wait(lock, has_ended);
    lock.unlock();
    try {
        write_record(*container);
    } catch (const Error&) {
        // It was removed with its end.
    }
    tell(*container, "stop");
    return true;
}

void Containers::restart(const std::string& name, std::optional<seconds> timeout, std::optional<int> signal) {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    {
        const std::lock_guard lock{mutex_};
        container->is_kept = true;
    }
    ask(container->files, {{"do", "keep"}});
    stop_now(container, timeout, signal);
    start_now(container);
    tell(*container, "restart");
}

void Containers::send_signal(const std::string& name, int signal) {
    const std::shared_ptr<Container> container = look_up(name);
    {
        const std::lock_guard lock{mutex_};
        if (container->stage != Stage::running && container->stage != Stage::paused) {
            throw ApiError{
                409, "Cannot kill container: " + name + ": Container " + container->id + " is not running"};
        }
        if (signal == SIGKILL || signal == container->spec()->stop_signal) {
            container->was_stopped = true;  // its policy does not start it again, as with Docker
        }
    }
    tell(*container, "kill", {{"signal", std::to_string(signal)}});
    ask(container->files, {{"do", "signal"}, {"value", signal}});
}

void Containers::freeze(const std::string& name, bool is_on) {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    require_running(*container);
    {
        const std::lock_guard lock{mutex_};
        if (is_on == (container->stage == Stage::paused)) {
            throw ApiError{is_on ? 409U : 500U,
                           "Container " + container->id + (is_on ? " is already paused" : " is not paused")};
        }
    }
    if (!is_done(ask(container->files, {{"do", "freeze"}, {"on", is_on}}))) {
        throw ApiError{500, "cannot pause or resume the container: its guest does not obey"};
    }
    {
        // Who follows the supervisor sets the stage, in the order of what it tells.
        constexpr seconds kForTheFollower{10};
        std::unique_lock lock{mutex_};
        changed_.wait_for(lock, kForTheFollower,
                          [&] { return container->stage != (is_on ? Stage::running : Stage::paused); });
    }
    tell(*container, is_on ? "pause" : "unpause");
}

void Containers::update(const std::string& name,
                        const std::function<SpecChange(const ContainerSpec&)>& change) {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    ContainerSpec spec = *container->spec();
    SpecChange wanted = change(spec);
    spec.run.config.group = wanted.limits;
    spec.host_config = std::move(wanted.host_config);
    spec.restart = wanted.restart;
    bool is_running = false;
    {
        const std::lock_guard lock{mutex_};
        is_running = container->stage == Stage::running || container->stage == Stage::paused;
    }
    if (is_running) {
        json::object question = limits_to_json(wanted.limits);
        question["do"] = "limit";
        const auto answer = ask(container->files, question);
        if (!is_done(answer)) {
            throw ApiError{409, answer ? text_in(*answer, "why") : "its supervisor does not answer"};
        }
    }
    RunFile run = RunFile::read(container->files);  // with what is of this run, or was of the last
    run.config.group = wanted.limits;
    run.write(container->files);
    container->set_spec(std::move(spec));
    write_record(*container);
    tell(*container, "update");
}

void Containers::pause(const std::string& name) {
    freeze(name, true);
}

void Containers::resume(const std::string& name) {
    freeze(name, false);
}

}  // namespace hull::container
