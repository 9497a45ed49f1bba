// Of Containers: their clients and terminals, what they use, and further commands in them.
#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "container/life/container_entry.h"
#include "container/life/container_name.h"
#include "container/life/containers.h"
#include "container/supervisor/stream_frame.h"

namespace hull::container {

namespace json = boost::json;
using Stage = ContainerView::Stage;

namespace {

/// As Docker's events say what is run, a space behind a program without arguments included.
std::string words_of(const std::vector<std::string>& command) {
    std::string words = command.front() + " ";
    for (size_t index = 1; index < command.size(); ++index) {
        words += (index > 1 ? " " : "") + command[index];
    }
    return words;
}

}  // namespace

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
            throw ApiError{409, "Container " + name + " is paused, unpause the container before attach"};
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

ProcessList Containers::processes(const std::string& name) {
    const std::shared_ptr<Container> container = look_up(name);
    require_running(*container);
    const std::optional<json::object> answer = ask(container->files, {{"do", "processes"}});
    if (!answer || text_in(*answer, "is") != "processes") {
        const std::string why =
            answer ? text_in(*answer, "why") : "the container has ended, or does not answer";
        throw ApiError{500, "cannot list the processes of container " + container->id + ": " + why};
    }
    ProcessList list = ProcessList::from_json(*answer);
    tell(*container, "top");
    return list;
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
            throw ApiError{409, "Container " + name + " is paused, unpause the container before exec"};
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
    tell(*container, "exec_create: " + words_of(exec->config.command), {{"execID", exec->id}});
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
    // Before it has taken it the supervisor knows no such command, and it would count as ended.
    changed_.wait(lock, [&] { return !exec->has_started || exec->is_taken || exec->exit_status; });
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
    tell(*exec->container, "exec_start: " + words_of(exec->config.command), {{"execID", id}});
    json::object question = client ? client_message("exec", *client) : json::object{{"do", "exec"}};
    question["number"] = exec->number;
    question["exec"] = exec->config.to_json();
    const auto answer = ask(exec->container->files, question, client ? client->socket.get() : -1);
    if (is_done(answer)) {
        const std::lock_guard lock{mutex_};
        exec->is_taken = true;
        changed_.notify_all();
        return;
    }
    const std::string why = answer ? text_in(*answer, "why") : "the container has ended";
    {
        const std::lock_guard lock{mutex_};
        exec->exit_status = answer ? static_cast<int>(number_in(*answer, "status")) : kKilled;
        changed_.notify_all();
    }
    const std::string told =
        "OCI runtime exec failed: exec failed: unable to start container process: " + why + ": unknown";
    if (!client) {
        throw ApiError{400, told};
    }
    tell_client(client->socket.get(), exec->config.tty, told + "\r\n");
}

/// What a supervisor tells beside the state: of its further commands the end of those of this daemon's.
void Containers::take_report(const std::shared_ptr<Container>& container, const json::object& message) {
    if (text_in(message, "is") != "exec-ended") {
        take_probe(container, message);
        return;
    }
    const int64_t number = number_in(message, "number");
    const auto status = static_cast<int>(number_in(message, "status"));
    std::string id;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [each, exec] : execs_) {
            if (exec->container == container && exec->number == number && exec->has_started) {
                exec->exit_status = status;
                id = each;
            }
        }
    }
    if (!id.empty()) {
        tell(*container, "exec_die", {{"execID", id}, {"exitCode", std::to_string(status)}});
    }
}

/// Docker tells of probes as of any command that somebody else runs.
void Containers::take_probe(const std::shared_ptr<Container>& container, const json::object& message) {
    const std::string what = text_in(message, "is");
    const std::optional<HealthProbe> probe = container->spec()->run.health;
    if (what == "probe-begun" && probe) {
        const std::string id = make_id();
        {
            const std::lock_guard lock{mutex_};
            container->probe_id = id;
        }
        tell(*container, "exec_create: " + words_of(probe->command), {{"execID", id}});
        tell(*container, "exec_start: " + words_of(probe->command), {{"execID", id}});
    } else if (what == "probe-ended") {
        std::string id;
        {
            const std::lock_guard lock{mutex_};
            id = std::exchange(container->probe_id, "");
        }
        if (!id.empty()) {
            tell(*container, "exec_die",
                 {{"execID", id}, {"exitCode", std::to_string(number_in(message, "status"))}});
        }
    } else if (what == "health") {
        tell(*container, "health_status: " + text_in(message, "status"));
    }
}

/// What its command would have printed.
void Containers::tell_client(int socket, bool tty, const std::string& text) {
    const std::string whole = tty ? text : framed(1, text);
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
