#include "container/life/containers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/small_file.h"
#include "container/life/container_name.h"
#include "container/life/container_record.h"
#include "container/supervisor/channel.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;
using Stage = ContainerView::Stage;

namespace {

constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;
constexpr int kKilled = 137;

std::string short_id(const std::string& id) {
    return id.substr(0, 12);
}

std::string text_in(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

int64_t number_in(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    if (value != nullptr && value->is_uint64()) {
        return static_cast<int64_t>(value->get_uint64());
    }
    return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

/// Asks a supervisor something, and waits for the answer. None where it is gone.
std::optional<json::object> ask(const ContainerFiles& files, const json::object& question,
                                int descriptor = -1) {
    Channel channel = Channel::connect(files.socket());
    if (!channel.valid() || !channel.send(question, descriptor)) {
        return std::nullopt;
    }
    std::optional<Channel::Message> answer = channel.receive();
    return answer ? std::optional{std::move(answer->what)} : std::nullopt;
}

bool is_done(const std::optional<json::object>& answer) {
    return answer && text_in(*answer, "is") == "done";
}

std::optional<RunState> state_in(const json::object& message) {
    const json::value* state = message.if_contains("state");
    if (text_in(message, "is") != "state" || state == nullptr || !state->is_object()) {
        return std::nullopt;
    }
    return RunState::from_json(json::serialize(*state));
}

json::object client_message(const char* what, const AttachedClient& client) {
    json::array keys;
    for (const uint8_t key : client.detach_keys) {
        keys.emplace_back(key);
    }
    constexpr const char* kDigits = "0123456789abcdef";
    std::string first;
    for (const char byte : client.first) {
        first += kDigits[static_cast<uint8_t>(byte) >> 4];
        first += kDigits[static_cast<uint8_t>(byte) & 15];
    }
    return {{"do", what},
            {"input", client.input},
            {"output", client.output},
            {"errors", client.errors},
            {"keys", std::move(keys)},
            {"first", std::move(first)}};
}

/// A port that nobody has at the host, or this one; throws ApiError, as dockerd words it, where somebody has
/// it.
PortBinding take_port(PortBinding port, const std::string& container) {
    const bool is_udp = port.protocol == "udp";
    if (port.host_address.empty()) {
        port.host_address = "0.0.0.0";
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port.host_port);
    const UniqueFd fd{socket(AF_INET, (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0)};
    const int on = 1;
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    const bool is_address = inet_pton(AF_INET, port.host_address.c_str(), &address.sin_addr) == 1;
    // As a server does, so that connections which are closing keep nobody away.
    if (!is_udp) {
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    errno = is_address ? errno : EINVAL;
    if (!is_address || bind(fd.get(), generic, size) != 0 || getsockname(fd.get(), generic, &size) != 0) {
        const std::string why = errno == EADDRINUSE ? "port is already allocated" : errno_text(errno);
        throw ApiError{500, "driver failed programming external connectivity on endpoint " + container +
                                ": Bind for " + port.host_address + ":" + std::to_string(port.host_port) +
                                " failed: " + why};
    }
    port.host_port = ntohs(address.sin_port);
    return port;
}

/// As `hull boot` has it, of the user network.
std::string forward_word(const PortBinding& port) {
    return port.host_address + ":" + std::to_string(port.host_port) + ":" +
           std::to_string(port.container_port) + (port.protocol == "udp" ? "/udp" : "");
}

/// Whether its policy starts a container again that has ended so.
bool wants_restart(const RestartPolicy& policy, int exit_status, unsigned restarts) {
    switch (policy.kind) {
        case RestartPolicy::Kind::always:
        case RestartPolicy::Kind::unless_stopped:
            return true;
        case RestartPolicy::Kind::on_failure:
            return exit_status != 0 && (policy.most == 0 || restarts < policy.most);
        default:
            return false;
    }
}

}  // namespace

std::string ContainerView::stage_word() const {
    constexpr std::array<const char*, 6> kWords{"created",    "running",  "paused",
                                                "restarting", "removing", "exited"};
    return kWords.at(static_cast<size_t>(stage));
}

/// What is not constant is guarded by Containers::mutex_.
struct Containers::Container {
    std::string id;
    system_clock::time_point created{};
    std::shared_ptr<const ContainerSpec> spec;
    ContainerFiles files;

    std::string name;
    Stage stage = Stage::created;
    RunState state;
    unsigned restarts = 0;
    bool was_stopped = false;  // by its user
    bool is_kept = false;      // whatever its spec says: it is about to be started again
    bool is_followed = false;  // a thread waits for its end, or for the time to start it again
    unsigned last_exec = 0;
    std::vector<PortBinding> ports;
    std::vector<AttachedClient> waiting;  // for its start

    std::mutex operation;  // one start, stop, restart, rename or removal at a time; taken before mutex_
};

struct Containers::Exec {
    std::string id;
    std::shared_ptr<Container> container;
    ExecConfig config;
    int number = 0;
    // Guarded by Containers::mutex_.
    bool has_started = false;
    std::optional<int> exit_status;
};

Containers::Containers(fs::path root, Store& store, GuestKernel kernel, Events& events,
                       StartSupervisor start_supervisor)
    : root_{std::move(root)},
      store_{store},
      kernel_{std::move(kernel)},
      events_{events},
      start_supervisor_{std::move(start_supervisor)} {
    std::error_code error;
    std::vector<fs::path> folders;
    for (const fs::directory_entry& entry : fs::directory_iterator{root_ / "containers", error}) {
        folders.push_back(entry.path());
    }
    for (const fs::path& folder : folders) {
        load(folder);
    }
}

Containers::~Containers() {
    std::unique_lock lock{mutex_};
    is_stopping_ = true;
    signal_eventfd(stop_.get());
    changed_.notify_all();
    changed_.wait(lock, [this] { return followers_ == 0; });
}

void Containers::load(const fs::path& folder) {
    const ContainerFiles files{folder};
    std::error_code ignored;
    if (!fs::exists(files.record(), ignored)) {
        fs::remove_all(folder, ignored);  // its daemon died while it was made, or removed
        return;
    }
    try {
        ContainerRecord record = ContainerRecord::read(files);
        auto container = std::make_shared<Container>();
        container->id = record.id;
        container->created = record.created;
        container->spec = std::make_shared<const ContainerSpec>(std::move(record.spec));
        container->files = files;
        container->name = record.name;
        container->restarts = record.restarts;
        container->was_stopped = record.was_stopped;
        const std::lock_guard lock{mutex_};
        containers_[container->id] = container;
        find_again(container);
    } catch (const Error& error) {
        log_warning("a container is left out: " + std::string{error.what()});
    }
}

void Containers::find_again(const std::shared_ptr<Container>& container) {
    Channel channel = Channel::connect(container->files.socket());
    std::error_code ignored;
    const bool has_run = fs::exists(container->files.state(), ignored);
    if (has_run) {
        std::ifstream file{container->files.state()};
        std::ostringstream text;
        text << file.rdbuf();
        container->state = RunState::from_json(text.str());
        container->stage = Stage::exited;
    }
    std::optional<RunState> now;
    if (channel.valid() && channel.send({{"do", "watch"}})) {
        const std::optional<Channel::Message> message = channel.receive();
        now = message ? state_in(message->what) : std::nullopt;
    }
    if (now && now->stage == RunState::Stage::running) {
        container->state = *now;
        container->stage = now->is_paused ? Stage::paused : Stage::running;
        container->ports = ports_of_run(*container);
        follow(container, std::move(channel));
        return;
    }
    if (now) {
        ask(container->files, {{"do", "end"}});  // the daemon before died while it started it
    }
    if (container->state.stage != RunState::Stage::ended && has_run) {
        note_death(*container);
    }
    const RestartPolicy& policy = container->spec->restart;
    const bool is_stopped = container->was_stopped && policy.kind != RestartPolicy::Kind::always;
    if (container->spec->is_removed_at_end && has_run) {
        forget(container);
        remove_files(*container);
    } else if (has_run && !is_stopped &&
               wants_restart(policy, container->state.exit_status, container->restarts)) {
        container->stage = Stage::restarting;
        follow(container, std::nullopt);
    }
}

/// The ports that a supervisor which was found has been given.
std::vector<PortBinding> Containers::ports_of_run(const Container& container) {
    std::vector<PortBinding> ports = container.spec->ports;
    const std::vector<std::string> words = RunFile::read(container.files).machine.ports;
    for (size_t index = 0; index < ports.size() && index < words.size(); ++index) {
        const size_t sign = words[index].find(':');
        ports[index].host_address = words[index].substr(0, sign);
        ports[index].host_port =
            static_cast<uint16_t>(std::strtoul(words[index].c_str() + sign + 1, nullptr, 10));
    }
    return ports;
}

/// Its supervisor was killed, and has written nothing of that.
void Containers::note_death(Container& container) {
    RunState& state = container.state;
    state.stage = RunState::Stage::ended;
    state.is_paused = false;
    state.supervisor = 0;
    state.exit_status = kKilled;
    state.finished = system_clock::now();
    state.error = state.error.empty() ? "its supervisor was killed" : state.error;
    try {
        replace_file(container.files.state(), state.to_json());
    } catch (const Error& error) {
        log_warning(error.what());
    }
}

// --- what is there

std::shared_ptr<Containers::Container> Containers::look_up(const std::string& name) const {
    const std::lock_guard lock{mutex_};
    const std::string wanted = name.starts_with('/') ? name.substr(1) : name;
    if (const auto found = containers_.find(wanted); found != containers_.end()) {
        return found->second;
    }
    std::shared_ptr<Container> match;
    bool is_ambiguous = false;
    for (const auto& [id, container] : containers_) {
        if (container->name == wanted) {
            return container;
        }
        if (!wanted.empty() && id.starts_with(wanted)) {
            is_ambiguous = match != nullptr;
            match = container;
        }
    }
    if (is_ambiguous) {
        throw ApiError{400, "Multiple IDs found with provided prefix: " + wanted};
    }
    if (match == nullptr) {
        throw ApiError{404, "No such container: " + wanted};
    }
    return match;
}

ContainerView Containers::view_of(const Container& container) {
    return {.id = container.id,
            .name = container.name,
            .created = container.created,
            .spec = container.spec,
            .stage = container.stage,
            .state = container.state,
            .restarts = container.restarts,
            .ports = container.ports,
            .files = container.files};
}

ContainerView Containers::find(const std::string& name) const {
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard lock{mutex_};
    return view_of(*container);
}

std::vector<ContainerView> Containers::list() const {
    std::vector<ContainerView> all;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, container] : containers_) {
            all.push_back(view_of(*container));
        }
    }
    std::ranges::sort(all, [](const auto& one, const auto& other) { return one.created > other.created; });
    return all;
}

void Containers::tell(const Container& container, std::string action,
                      std::map<std::string, std::string> attributes) {
    attributes["image"] = container.spec->image_name;
    attributes["name"] = container.name;
    if (const json::value* labels = container.spec->config.if_contains("Labels");
        labels != nullptr && labels->is_object()) {
        for (const auto& [label, value] : labels->get_object()) {
            if (value.is_string()) {
                attributes.emplace(label, std::string{value.get_string()});
            }
        }
    }
    events_.tell({.type = "container",
                  .action = std::move(action),
                  .id = container.id,
                  .attributes = std::move(attributes),
                  .time = system_clock::now()});
}

void Containers::write_record(const Container& container) const {
    ContainerRecord record;
    {
        const std::lock_guard lock{mutex_};
        record = {.id = container.id,
                  .name = container.name,
                  .created = container.created,
                  .spec = *container.spec,
                  .was_stopped = container.was_stopped,
                  .restarts = container.restarts};
    }
    record.write(container.files);
}

// --- making and removing

std::string Containers::create(const std::string& name, ContainerSpec spec) {
    if (!name.empty() && !is_name(name)) {
        throw ApiError{400,
                       "Invalid container name (" + name + "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"};
    }
    auto container = std::make_shared<Container>();
    ContainerRecord record;
    {
        const std::lock_guard lock{mutex_};
        const auto owner_of = [&](const std::string& wanted) {
            return std::ranges::find_if(containers_,
                                        [&](const auto& each) { return each.second->name == wanted; });
        };
        container->name = name;
        for (unsigned tries = 0; container->name.empty(); ++tries) {
            const std::string made = make_name(tries);
            container->name = owner_of(made) == containers_.end() ? made : "";
        }
        if (const auto owner = owner_of(container->name); owner != containers_.end()) {
            throw ApiError{
                409, "Conflict. The container name \"/" + name + "\" is already in use by container \"" +
                         owner->first +
                         "\". You have to remove (or rename) that container to be able to reuse that "
                         "name."};
        }
        const auto is_taken = [&](const std::string& id) {  // its folder's name, that is
            const auto next = containers_.lower_bound(short_id(id));
            return next != containers_.end() && next->first.starts_with(short_id(id));
        };
        do {
            container->id = make_id();
        } while (is_taken(container->id));
        container->created = system_clock::now();
        container->files = {root_ / "containers" / short_id(container->id)};
        give_host_name(spec, container->id);
        container->spec = std::make_shared<const ContainerSpec>(std::move(spec));
        record = {.id = container->id,
                  .name = container->name,
                  .created = container->created,
                  .spec = *container->spec};
        containers_[container->id] = container;  // so that nobody else takes its name
    }
    try {
        record.create_files(root_, container->files);
    } catch (...) {
        const std::lock_guard lock{mutex_};
        containers_.erase(container->id);
        throw;
    }
    tell(*container, "create");
    return container->id;
}

/// The record first: a folder without one is swept by the next daemon.
void Containers::remove_files(const Container& container) {
    std::error_code ignored;
    fs::remove(container.files.record(), ignored);
    std::error_code error;
    fs::remove_all(container.files.folder, error);
    if (error) {
        log_warning("cannot remove '" + container.files.folder.string() + "': " + error.message());
    }
}

/// The caller has mutex_.
void Containers::forget(const std::shared_ptr<Container>& container) {
    container->stage = Stage::removing;
    containers_.erase(container->id);
    std::erase_if(execs_, [&](const auto& each) { return each.second->container == container; });
    changed_.notify_all();
}

void Containers::remove(const std::string& name, bool is_forced) {
    const std::shared_ptr<Container> container = look_up(name);
    if (is_forced) {
        ask(container->files, {{"do", "end"}});  // so that nobody who waits for its end is waited for
    }
    const std::lock_guard operation{container->operation};
    {
        std::unique_lock lock{mutex_};
        if (!containers_.contains(container->id)) {
            return;  // somebody else has
        }
        const bool is_active = container->stage == Stage::running || container->stage == Stage::paused ||
                               container->stage == Stage::restarting;
        if (is_active && !is_forced) {
            throw ApiError{409, "cannot remove container \"/" + container->name + "\": container is " +
                                    view_of(*container).stage_word() +
                                    ": stop the container before removing or force remove"};
        }
        container->was_stopped = true;
        changed_.notify_all();
        if (container->is_followed) {
            container->is_kept = true;  // until it is removed here
            lock.unlock();
            ask(container->files, {{"do", "end"}});
            lock.lock();
            changed_.wait(lock, [&] { return !container->is_followed || is_stopping_; });
        }
        forget(container);
    }
    remove_files(*container);
    tell(*container, "destroy");
}

void Containers::rename(const std::string& name, const std::string& new_name) {
    const std::string wanted = new_name.starts_with('/') ? new_name.substr(1) : new_name;
    if (!is_name(wanted)) {
        throw ApiError{400,
                       "Invalid container name (" + wanted + "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"};
    }
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    std::string old;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, other] : containers_) {
            if (other->name == wanted) {
                throw ApiError{409,
                               "Error when allocating new name: Conflict. The container name \"/" + wanted +
                                   "\" is already in use by container \"" + id +
                                   "\". You have to remove (or rename) that container to be able to reuse "
                                   "that name."};
            }
        }
        old = std::exchange(container->name, wanted);
    }
    write_record(*container);
    tell(*container, "rename", {{"oldName", "/" + old}});
}

// --- running

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
    try {
        Channel watch = launch(container);
        const std::lock_guard lock{mutex_};
        follow(container, std::move(watch));
    } catch (const std::exception&) {
        if (container->spec->is_removed_at_end) {
            {
                const std::lock_guard lock{mutex_};
                forget(container);
            }
            remove_files(*container);
            tell(*container, "destroy");
        }
        throw;
    }
}

/// Starts a supervisor, gives it the clients that wait, and has it run the command. Answers the channel that
/// tells how it goes on. Throws what kept the command from running; nothing is left then.
Channel Containers::launch(const std::shared_ptr<Container>& container) {
    std::vector<AttachedClient> clients;
    {
        const std::lock_guard lock{mutex_};
        clients = std::exchange(container->waiting, {});
        container->state = {};
    }
    const ContainerFiles& files = container->files;
    const ContainerSpec& spec = *container->spec;
    const Store::Hold hold = store_.hold();
    const std::optional<StoredImage> image = store_.find(spec.image);
    if (!image) {
        throw ApiError{404, "No such image: " + spec.image_name};
    }
    std::vector<PortBinding> ports;
    RunFile run = spec.run;
    for (const PortBinding& port : spec.ports) {
        ports.push_back(take_port(port, container->name));
        run.machine.ports.push_back(forward_word(ports.back()));
    }
    const GuestKernel kernel = find_guest_kernel(kernel_, "a container");
    run.machine.kernel = kernel.kernel;
    run.machine.initramfs = kernel.initramfs;
    run.machine.layers = image->layers;
    run.machine.writable = files.disk();
    run.machine.is_writable_kept = true;
    run.machine.cpus = ContainerMachine::cpus_for(run.config.cpus);
    run.write(files);
    start_supervisor_(files);
    Channel watch = Channel::connect(files.socket());
    std::optional<json::object> answer;
    if (watch.valid() && watch.send({{"do", "watch"}})) {
        for (AttachedClient& client : clients) {
            ask(files, client_message("attach", client), client.socket.get());
        }
        answer = ask(files, {{"do", "start"}});
    }
    if (!is_done(answer)) {
        const std::string why = answer ? text_in(*answer, "why") : "its supervisor was killed";
        const int64_t status = answer ? number_in(*answer, "status") : kKilled;
        const std::lock_guard lock{mutex_};
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
        container->state.stage = RunState::Stage::running;
        container->state.started = system_clock::now();  // until it says so itself
        container->ports = std::move(ports);
    }
    tell(*container, "start");
    return watch;
}

/// On a thread of its own, until the container has ended and is not started again. The caller has mutex_.
void Containers::follow(const std::shared_ptr<Container>& container, std::optional<Channel> watch) {
    container->is_followed = true;
    ++followers_;
    try {
        std::thread{[this, container, channel = std::move(watch)]() mutable {
            try {
                follow_to_the_end(container, std::move(channel));
            } catch (const std::exception& error) {
                log_warning("the container '" + container->name + "' is no longer followed: " + error.what());
            }
            const std::lock_guard lock{mutex_};
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
        if (container->state.finished - container->state.started > kWell) {
            pause = kShortest;
        }
        if (container->was_stopped ||
            !wants_restart(container->spec->restart, container->state.exit_status, container->restarts)) {
            container->stage = Stage::exited;
            if (container->spec->is_removed_at_end && !container->is_kept) {
                forget(container);
                lock.unlock();
                remove_files(*container);
                tell(*container, "destroy");
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
            log_warning("the container '" + container->name + "' cannot be started again: " + error.what());
            const std::lock_guard again{mutex_};
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
            continue;
        }
        const std::lock_guard lock{mutex_};
        container->state = *state;
        if (state->stage == RunState::Stage::running) {
            container->stage = state->is_paused ? Stage::paused : Stage::running;
        }
        if (state->stage == RunState::Stage::ended) {
            return true;
        }
    }
}

/// A run has ended, or its supervisor was killed.
void Containers::take_end(Container& container) {
    RunState state;
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
}

void Containers::require_running(const Container& container) const {
    const std::lock_guard lock{mutex_};
    if (container.stage != Stage::running && container.stage != Stage::paused) {
        throw ApiError{409, "container " + container.id + " is not running"};
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
    const ContainerSpec& spec = *container->spec;
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
        const seconds patience = timeout.value_or(spec.stop_timeout);
        send(signal.value_or(spec.stop_signal));
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
                409, "cannot kill container: " + name + ": container " + container->id + " is not running"};
        }
        if (signal == SIGKILL || signal == container->spec->stop_signal) {
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
                           "container " + container->id + (is_on ? " is already paused" : " is not paused")};
        }
    }
    if (!is_done(ask(container->files, {{"do", "freeze"}, {"on", is_on}}))) {
        throw ApiError{500, "cannot pause or resume the container: its guest does not obey"};
    }
    {
        const std::lock_guard lock{mutex_};
        if (container->stage == Stage::running || container->stage == Stage::paused) {
            container->stage = is_on ? Stage::paused : Stage::running;
        }
    }
    tell(*container, is_on ? "pause" : "unpause");
}

void Containers::pause(const std::string& name) {
    freeze(name, true);
}

void Containers::resume(const std::string& name) {
    freeze(name, false);
}

void Containers::resize(const std::string& name, unsigned rows, unsigned columns) {
    const std::shared_ptr<Container> container = look_up(name);
    require_running(*container);
    ask(container->files, {{"do", "resize"}, {"rows", rows}, {"columns", columns}});
}

void Containers::attach(const std::string& name, AttachedClient client) {
    const std::shared_ptr<Container> container = look_up(name);
    {
        const std::lock_guard lock{mutex_};
        if (container->stage == Stage::paused) {
            throw ApiError{409,
                           "container " + container->id + " is paused, unpause the container before attach"};
        }
        if (container->stage != Stage::running) {
            constexpr size_t kMostWaiting = 16;
            std::erase_if(container->waiting, [](const AttachedClient& each) {
                pollfd entry{each.socket.get(), POLLRDHUP, 0};
                return poll(&entry, 1, 0) > 0;  // it has gone
            });
            if (container->waiting.size() >= kMostWaiting) {
                throw ApiError{409, "too many clients wait for the start of container " + container->id};
            }
            container->waiting.push_back(std::move(client));
            return;
        }
    }
    ask(container->files, client_message("attach", client), client.socket.get());
    tell(*container, "attach");
}

std::map<std::string, std::string> Containers::group(const std::string& name) const {
    const std::shared_ptr<Container> container = look_up(name);
    std::map<std::string, std::string> files;
    const std::optional<json::object> answer = ask(container->files, {{"do", "group"}});
    const json::value* value = answer ? answer->if_contains("files") : nullptr;
    if (value != nullptr && value->is_object()) {
        for (const auto& [file, text] : value->get_object()) {
            if (text.is_string()) {
                files.emplace(file, std::string{text.get_string()});
            }
        }
    }
    return files;
}

// --- further commands

std::string Containers::make_exec(const std::string& name, ExecConfig config) {
    const std::shared_ptr<Container> container = look_up(name);
    require_running(*container);
    auto exec = std::make_shared<Exec>();
    exec->id = make_id();
    exec->container = container;
    exec->config = std::move(config);
    {
        const std::lock_guard lock{mutex_};
        if (container->stage == Stage::paused) {
            throw ApiError{409,
                           "container " + container->id + " is paused, unpause the container before exec"};
        }
        constexpr size_t kMostExecs = 4096;
        if (execs_.size() >= kMostExecs) {
            std::erase_if(execs_, [](const auto& each) {
                return each.second->exit_status.has_value() || each.second->container->stage == Stage::exited;
            });
        }
        if (execs_.size() >= kMostExecs) {
            throw ApiError{503, "too many commands were made and not started"};
        }
        exec->number = static_cast<int>(++container->last_exec);
        execs_[exec->id] = exec;
    }
    std::string words;
    for (const std::string& word : exec->config.command) {
        words += (words.empty() ? "" : " ") + word;
    }
    tell(*container, "exec_create: " + words, {{"execID", exec->id}});
    return exec->id;
}

std::shared_ptr<Containers::Exec> Containers::look_up_exec(const std::string& id) const {
    const std::lock_guard lock{mutex_};
    const auto found = execs_.find(id);
    if (found == execs_.end()) {
        throw ApiError{404, "No such exec instance: " + id};
    }
    return found->second;
}

ExecView Containers::find_exec(const std::string& id) const {
    const std::shared_ptr<Exec> exec = look_up_exec(id);
    std::unique_lock lock{mutex_};
    ExecView view{.id = exec->id,
                  .container = exec->container->id,
                  .config = exec->config,
                  .has_started = exec->has_started,
                  .is_running = false,
                  .exit_status = exec->exit_status,
                  .number = exec->number};
    if (!exec->has_started || exec->exit_status) {
        return view;
    }
    lock.unlock();
    const auto answer = ask(exec->container->files, {{"do", "state-of-exec"}, {"number", exec->number}});
    lock.lock();
    if (!answer || text_in(*answer, "is") != "exec") {
        exec->exit_status = kKilled;  // with its container
    } else if (const json::value* running = answer->if_contains("running");
               running != nullptr && running->is_bool() && running->get_bool()) {
        view.is_running = true;
    } else {
        exec->exit_status = static_cast<int>(number_in(*answer, "status"));
    }
    view.exit_status = exec->exit_status;
    return view;
}

void Containers::start_exec(const std::string& id, std::optional<AttachedClient> client) {
    const std::shared_ptr<Exec> exec = look_up_exec(id);
    require_running(*exec->container);
    {
        const std::lock_guard lock{mutex_};
        if (std::exchange(exec->has_started, true)) {
            throw ApiError{409, "Error: Exec command " + id + " is already running"};
        }
    }
    json::object question = client ? client_message("exec", *client) : json::object{{"do", "exec"}};
    question["number"] = exec->number;
    question["exec"] = exec->config.to_json();
    const auto answer = ask(exec->container->files, question, client ? client->socket.get() : -1);
    if (is_done(answer)) {
        tell(*exec->container, "exec_start", {{"execID", id}});
        return;
    }
    const std::string why = answer ? text_in(*answer, "why") : "the container has ended";
    {
        const std::lock_guard lock{mutex_};
        exec->exit_status = answer ? static_cast<int>(number_in(*answer, "status")) : kKilled;
    }
    const std::string told =
        "OCI runtime exec failed: exec failed: unable to start container process: " + why + ": unknown";
    if (!client) {
        throw ApiError{400, told};
    }
    tell_client(client->socket.get(), exec->config.tty, told + "\r\n");
}

/// What its command would have printed.
void Containers::tell_client(int socket, bool tty, const std::string& text) {
    std::string whole;
    if (!tty) {
        whole = std::string{'\1', '\0', '\0', '\0'};
        for (const unsigned shift : {24U, 16U, 8U, 0U}) {
            whole += static_cast<char>(text.size() >> shift);
        }
    }
    whole += text;
    send(socket, whole.data(), whole.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(socket, SHUT_RDWR);
}

void Containers::resize_exec(const std::string& id, unsigned rows, unsigned columns) {
    const std::shared_ptr<Exec> exec = look_up_exec(id);
    require_running(*exec->container);
    ask(exec->container->files,
        {{"do", "resize"}, {"number", exec->number}, {"rows", rows}, {"columns", columns}});
}

}  // namespace hull::container
