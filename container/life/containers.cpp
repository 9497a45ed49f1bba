#include "container/life/containers.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/small_file.h"
#include "container/life/container_entry.h"
#include "container/life/container_name.h"
#include "container/life/container_record.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::system_clock;
using Stage = ContainerView::Stage;

namespace {

void require_name(const std::string& name) {
    if (!is_name(name)) {
        throw ApiError{400,
                       "Invalid container name (" + name + "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"};
    }
}

[[noreturn]] void refuse_taken(const std::string& name, const std::string& owner) {
    throw ApiError{
        409, "Conflict. The container name \"/" + name + "\" is already in use by container \"" + owner +
                 "\". You have to remove (or rename) that container to be able to reuse that name."};
}

}  // namespace

std::string ContainerView::stage_word() const {
    constexpr std::array<const char*, 6> kWords{"created",    "running",  "paused",
                                                "restarting", "removing", "exited"};
    return kWords.at(static_cast<size_t>(stage));
}

Containers::Containers(fs::path root, Store& store, GuestKernel kernel, Events& events,
                       StartSupervisor start_supervisor, std::unique_ptr<Bridges> bridges)
    : root_{std::move(root)},
      store_{store},
      kernel_{std::move(kernel)},
      events_{events},
      start_supervisor_{std::move(start_supervisor)},
      volumes_{root_, events},
      networks_{root_, events, std::move(bridges)} {
    std::error_code error;
    std::vector<fs::path> folders;
    for (const fs::directory_entry& entry : fs::directory_iterator{root_ / "containers", error}) {
        folders.push_back(entry.path());
    }
    for (const fs::path& folder : folders) {
        load(folder);
    }
    write_names();
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
        container->set_spec(std::move(record.spec));
        container->files = files;
        container->name = record.name;
        container->networks = std::move(record.networks);
        container->restarts = record.restarts;
        container->was_stopped = record.was_stopped;
        find_volumes(*container);
        std::unique_lock lock{mutex_};
        containers_[container->id] = container;
        find_again(container, lock);
    } catch (const Error& error) {
        log_warning("a container is left out: " + std::string{error.what()});
    }
}

/// `lock` is of mutex_; it is given up where the container is removed.
void Containers::find_again(const std::shared_ptr<Container>& container, std::unique_lock<std::mutex>& lock) {
    Channel channel = Channel::connect(container->files.socket());
    std::error_code ignored;
    const bool has_run = fs::exists(container->files.state(), ignored);
    if (has_run) {
        container->state = RunState::from_json(file_text(container->files.state()));
        container->stage = Stage::exited;
    }
    std::optional<RunState> now;
    if (channel.valid() && channel.send({{"do", "watch"}})) {
        const std::optional<Channel::Message> message = channel.receive();
        now = message ? state_in(message->what) : std::nullopt;
        // Commands of the daemon before may run still.
        container->last_exec = message ? static_cast<unsigned>(number_in(message->what, "last_exec")) : 0;
    }
    if (now && now->stage == RunState::Stage::running) {
        container->state = *now;
        container->stage = now->is_paused ? Stage::paused : Stage::running;
        take_network_of_run(*container);
        follow(container, std::move(channel));
        return;
    }
    if (now) {
        ask(container->files, {{"do", "end"}});  // the daemon before died while it started it
    }
    if (container->state.stage != RunState::Stage::ended && has_run) {
        note_death(*container);
    }
    const RestartPolicy policy = container->spec()->restart;
    const bool is_stopped = container->was_stopped && policy.kind != RestartPolicy::Kind::always;
    if (container->spec()->is_removed_at_end && has_run) {
        discard(container, lock, true);
    } else if (has_run && !is_stopped &&
               wants_restart(policy, container->state.exit_status, container->restarts)) {
        container->stage = Stage::restarting;
        follow(container, std::nullopt);
    }
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
    if (state.health) {
        state.health->status = Health::Status::unhealthy;
    }
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
            .spec = container.spec(),
            .stage = container.stage,
            .state = container.state,
            .restarts = container.restarts,
            .ports = container.ports,
            .networks = container.networks,
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
    const auto spec = container.spec();
    attributes["image"] = spec->image_name;
    {
        const std::lock_guard lock{mutex_};
        attributes["name"] = container.name;
    }
    if (const json::value* labels = spec->config.if_contains("Labels");
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
                  .spec = *container.spec(),
                  .networks = container.networks,
                  .was_stopped = container.was_stopped,
                  .restarts = container.restarts};
    }
    record.write(container.files);
}

// --- making and removing

std::string Containers::create(const std::string& name, ContainerSpec spec) {
    if (!name.empty()) {
        require_name(name);
    }
    auto container = std::make_shared<Container>();
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
            refuse_taken(name, owner->first);
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
        container->networks = std::move(spec.networks);
        settle_networks(container->networks, spec);
        container->set_spec(spec);
        containers_[container->id] = container;  // so that nobody else takes its name
    }
    try {
        make_volumes(spec, container->id);
        const ContainerRecord record{.id = container->id,
                                     .name = container->name,
                                     .created = container->created,
                                     .spec = spec,
                                     .networks = container->networks};
        record.create_files(root_, container->files);
        const std::lock_guard lock{mutex_};
        container->set_spec(spec);
    } catch (...) {
        {
            const std::lock_guard lock{mutex_};
            containers_.erase(container->id);
        }
        release_volumes(spec, container->id, true);
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

/// Gives up `lock`, which is of mutex_, once nobody finds the container any more.
void Containers::discard(const std::shared_ptr<Container>& container, std::unique_lock<std::mutex>& lock,
                         bool takes_volumes) {
    container->stage = Stage::removing;
    containers_.erase(container->id);
    std::erase_if(execs_, [&](const auto& each) { return each.second->container == container; });
    changed_.notify_all();
    lock.unlock();
    remove_files(*container);
    release_volumes(*container->spec(), container->id, takes_volumes);
    tell(*container, "destroy");
}

void Containers::remove(const std::string& name, bool is_forced, bool takes_volumes) {
    const std::shared_ptr<Container> container = look_up(name);
    if (is_forced) {
        ask(container->files, {{"do", "end"}});  // so that nobody who waits for its end is waited for
    }
    const std::lock_guard operation{container->operation};
    std::unique_lock lock{mutex_};
    if (!containers_.contains(container->id)) {
        return;  // somebody else has
    }
    const bool is_active = container->stage == Stage::running || container->stage == Stage::paused ||
                           container->stage == Stage::restarting;
    if (is_active && !is_forced) {
        throw ApiError{409, std::string{"You cannot remove a "} + view_of(*container).stage_word() +
                                " container " + container->id +
                                (container->stage == Stage::paused ? ". Unpause and then stop" : ". Stop") +
                                " the container before attempting removal or force remove"};
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
    lock.unlock();
    end_helper(*container, "end");
    lock.lock();
    discard(container, lock, takes_volumes || container->spec()->is_removed_at_end);
}

void Containers::rename(const std::string& name, const std::string& new_name) {
    const std::string wanted = new_name.starts_with('/') ? new_name.substr(1) : new_name;
    require_name(wanted);
    const std::shared_ptr<Container> container = look_up(name);
    const std::lock_guard operation{container->operation};
    std::string old;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, other] : containers_) {
            if (other->name == wanted) {
                refuse_taken(wanted, id);
            }
        }
        old = std::exchange(container->name, wanted);
    }
    write_record(*container);
    write_names();
    tell(*container, "rename", {{"oldName", "/" + old}});
}

}  // namespace hull::container
