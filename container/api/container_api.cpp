#include "container/api/container_api.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/printable.h"
#include "container/api/container_filter.h"
#include "container/api/container_json.h"
#include "container/api/container_streams.h"
#include "container/api/create_body.h"
#include "container/api/exec_body.h"
#include "container/api/filters.h"
#include "container/api/json_shapes.h"
#include "container/api/process_table.h"
#include "container/api/signal_names.h"
#include "container/api/update_body.h"
#include "container/life/file_tree.h"
#include "container/supervisor/stream_frame.h"

namespace hull::container {

namespace json = boost::json;
using Clock = std::chrono::system_clock;

namespace {

std::optional<int64_t> number_of(std::string_view text) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

/// Of a parameter that must be a number from `least` to `most`; nothing where it is not there.
std::optional<int64_t> number_parameter(const ApiCall& call, const char* name, int64_t least, int64_t most) {
    const std::string text = call.target().find(name).value_or("");
    if (text.empty()) {
        return std::nullopt;
    }
    const auto value = number_of(text);
    if (!value || *value < least || *value > most) {
        throw ApiError{400, "invalid value for \"" + std::string{name} + "\": \"" + printable(text) + "\""};
    }
    return value;
}

std::optional<std::chrono::seconds> timeout_of(const ApiCall& call) {
    constexpr int64_t kMost = INT32_MAX;
    const auto seconds = number_parameter(call, "t", -kMost, kMost);
    return seconds ? std::optional{std::chrono::seconds{*seconds}} : std::nullopt;
}

std::optional<int> signal_of(const ApiCall& call) {
    const std::string text = call.target().find("signal").value_or("");
    if (text.empty()) {
        return std::nullopt;
    }
    const auto number = signal_number(text);
    if (!number) {
        throw ApiError{400, "Invalid signal: " + printable(text)};
    }
    return number;
}

struct Size {
    unsigned rows;
    unsigned columns;
};

Size size_of(const ApiCall& call) {
    constexpr int64_t kMost = 0xffff;
    const auto dimension = [&](const char* name) {
        const auto value = number_parameter(call, name, 0, kMost);
        if (!value) {
            throw ApiError{400, "invalid value for \"" + std::string{name} + "\": \"\""};
        }
        return static_cast<unsigned>(*value);
    };
    return {dimension("h"), dimension("w")};
}

/// What came of a request that has an empty body is an empty object.
json::value body_or_nothing(const ApiCall& call) {
    return call.has_body() ? call.body() : json::value(json::object{});
}

}  // namespace

/// Paths begin and end so; what is between is a name. Where nothing is to be between them, `end` is null.
struct ContainerApi::Route {
    const char* method;
    const char* begin;
    const char* end;
    void (ContainerApi::*serve)(ApiCall& call, const std::string& name);
};

const ContainerApi::Route ContainerApi::kRoutes[] = {
    {"GET", "/containers/json", nullptr, &ContainerApi::list},
    {"POST", "/containers/create", nullptr, &ContainerApi::create},
    {"POST", "/containers/prune", nullptr, &ContainerApi::prune},
    {"GET", "/events", nullptr, &ContainerApi::events},
    {"GET", "/containers/", "/json", &ContainerApi::inspect},
    {"GET", "/containers/", "/logs", &ContainerApi::logs},
    {"GET", "/containers/", "/stats", &ContainerApi::stats},
    {"GET", "/containers/", "/top", &ContainerApi::top},
    {"POST", "/containers/", "/start", &ContainerApi::start},
    {"POST", "/containers/", "/stop", &ContainerApi::stop},
    {"POST", "/containers/", "/restart", &ContainerApi::restart},
    {"POST", "/containers/", "/kill", &ContainerApi::kill},
    {"POST", "/containers/", "/pause", &ContainerApi::pause},
    {"POST", "/containers/", "/unpause", &ContainerApi::unpause},
    {"POST", "/containers/", "/wait", &ContainerApi::wait},
    {"POST", "/containers/", "/rename", &ContainerApi::rename},
    {"POST", "/containers/", "/update", &ContainerApi::update},
    {"POST", "/containers/", "/resize", &ContainerApi::resize},
    {"POST", "/containers/", "/attach", &ContainerApi::attach},
    {"POST", "/containers/", "/exec", &ContainerApi::create_exec},
    {"DELETE", "/containers/", "", &ContainerApi::remove},
    {"POST", "/exec/", "/start", &ContainerApi::start_exec},
    {"POST", "/exec/", "/resize", &ContainerApi::resize_exec},
    {"GET", "/exec/", "/json", &ContainerApi::inspect_exec},
};

bool ContainerApi::answer(ApiCall& call) {
    const RequestTarget& target = call.target();
    for (const Route& route : kRoutes) {
        if (!call.is(route.method)) {
            continue;
        }
        const auto name = route.end != nullptr         ? target.between(route.begin, route.end)
                          : target.path == route.begin ? std::optional{std::string{}}
                                                       : std::nullopt;
        if (name) {
            (this->*route.serve)(call, *name);
            return true;
        }
    }
    return false;
}

void ContainerApi::list(ApiCall& call, const std::string& /*name*/) {
    const RequestTarget& target = call.target();
    const ContainerFilter filter{
        parse_filters(target.find("filters").value_or("")),
        {.container = [&](const std::string& name) { return containers_.find(name); },
         .image = [&](const std::string& name) -> std::optional<std::string> {
             try {
                 const auto image = store_.find(name);
                 return image ? std::optional{image->id.text()} : std::nullopt;
             } catch (const Error&) {
                 return std::nullopt;  // what is no name of an image is none's
             }
         }}};
    const int64_t limit = number_parameter(call, "limit", INT32_MIN, INT32_MAX).value_or(0);
    const bool shows_all = target.is_set("all") || limit > 0 || filter.names_a_status();
    const auto now = Clock::now();
    json::array all;
    for (const ContainerView& container : containers_.list()) {
        const bool is_alive = container.is_running() || container.stage == ContainerView::Stage::restarting;
        if ((shows_all || is_alive) && filter.passes(container)) {
            all.push_back(list_json(container, now));
        }
        if (limit > 0 && static_cast<int64_t>(all.size()) == limit) {
            break;
        }
    }
    call.send(all);
}

void ContainerApi::create(ApiCall& call, const std::string& /*name*/) {
    const json::value body = call.body();
    const std::string name = image_named_by(body);
    const Store::Hold hold = store_.hold();
    const auto image = store_.find(name);
    if (!image) {
        // Docker's clients pull it then. An id that nobody has is told as it is.
        const bool is_id = name.starts_with("sha256:");
        throw ApiError{404, "No such image: " + (is_id ? name : Reference::parse(name).familiar_text())};
    }
    const RequestTarget& target = call.target();
    const std::string platform = target.find("platform").value_or("");
    const Platform here = Platform::of_this_host();
    if (!platform.empty() && platform != here.text() && platform != here.os) {
        throw ApiError{
            400, "containers for '" + printable(platform) + "' do not run here: this is " + here.text()};
    }
    const MountsOf mounts_of = [&](const std::string& other) {
        try {
            return containers_.find(other).spec->mounts;
        } catch (const ApiError& error) {
            throw ApiError{400, error.what()};  // 404 would be taken for a missing image
        }
    };
    const std::string id =
        containers_.create(target.find("name").value_or(""), parse_create_body(body, *image, mounts_of));
    call.send({{"Id", id}, {"Warnings", json::array{}}}, 201);
}

void ContainerApi::prune(ApiCall& call, const std::string& /*name*/) {
    const PruneFilter filter{parse_filters(call.target().find("filters").value_or("")), Clock::now()};
    json::array removed;
    uint64_t freed = 0;
    for (const ContainerView& container : containers_.list()) {
        if (!filter.passes(container)) {
            continue;
        }
        const uint64_t use = tree_size(container.files.disk());
        try {
            containers_.remove(container.id, false);
            removed.emplace_back(container.id);
            freed += use;
        } catch (const ApiError&) {
            // It was started or removed meanwhile.
        }
    }
    call.send({{"ContainersDeleted", or_null(std::move(removed))}, {"SpaceReclaimed", freed}});
}

void ContainerApi::inspect(ApiCall& call, const std::string& name) {
    call.send(inspect_json(containers_.find(name)));
}

void ContainerApi::start(ApiCall& call, const std::string& name) {
    if (call.has_body()) {
        // What Docker had before 1.24, and a null that some clients send for nothing.
        const json::value body = call.body();
        if (!body.is_null() && !(body.is_object() && body.get_object().empty())) {
            throw ApiError{
                400,
                "starting container with non-empty request body was deprecated since API v1.22 and "
                "removed in v1.24"};
        }
    }
    if (const auto checkpoint = call.target().find("checkpoint"); checkpoint && !checkpoint->empty()) {
        throw ApiError{501, "starting from a checkpoint is not supported"};
    }
    containers_.start(name);
    call.send_nothing();
}

void ContainerApi::stop(ApiCall& call, const std::string& name) {
    containers_.stop(name, timeout_of(call), signal_of(call));
    call.send_nothing();
}

void ContainerApi::restart(ApiCall& call, const std::string& name) {
    containers_.restart(name, timeout_of(call), signal_of(call));
    call.send_nothing();
}

void ContainerApi::kill(ApiCall& call, const std::string& name) {
    constexpr int kKill = 9;
    containers_.send_signal(name, signal_of(call).value_or(kKill));
    call.send_nothing();
}

void ContainerApi::pause(ApiCall& call, const std::string& name) {
    containers_.pause(name);
    call.send_nothing();
}

void ContainerApi::unpause(ApiCall& call, const std::string& name) {
    containers_.resume(name);
    call.send_nothing();
}

void ContainerApi::wait(ApiCall& call, const std::string& name) {
    wait_for_end(call, containers_, events_, name);
}

void ContainerApi::rename(ApiCall& call, const std::string& name) {
    std::string wanted = call.target().find("name").value_or("");
    if (wanted.starts_with('/')) {
        wanted.erase(0, 1);
    }
    if (wanted.empty()) {
        throw ApiError{400, "Neither old nor new names may be empty"};
    }
    containers_.rename(name, wanted);
    call.send_nothing();
}

void ContainerApi::update(ApiCall& call, const std::string& name) {
    const json::value body = call.body();
    const std::string id = containers_.find(name).id;
    check_update_body(body);
    try {
        containers_.update(name, [&](const ContainerSpec& spec) { return parse_update_body(body, spec); });
    } catch (const ApiError& error) {
        throw ApiError{error.status(), "Cannot update container " + id + ": " + error.what()};
    }
    call.send({{"Warnings", nullptr}});
}

void ContainerApi::remove(ApiCall& call, const std::string& name) {
    if (call.target().is_set("link")) {
        throw ApiError{501, "links between containers are not supported"};
    }
    containers_.remove(name, call.target().is_set("force"), call.target().is_set("v"));
    call.send_nothing();
}

void ContainerApi::resize(ApiCall& call, const std::string& name) {
    const Size size = size_of(call);
    containers_.resize(name, size.rows, size.columns);
    call.send_nothing(200);
}

void ContainerApi::attach(ApiCall& call, const std::string& name) {
    const RequestTarget& target = call.target();
    const ContainerView container = containers_.find(name);
    const std::string shown = container.name;
    if (container.stage == ContainerView::Stage::paused) {
        throw ApiError{409, "Container " + shown + " is paused, unpause the container before attach."};
    }
    if (container.stage == ContainerView::Stage::restarting) {
        throw ApiError{409, "Container " + shown + " is restarting, wait until the container is running."};
    }
    const ContainerConfig& config = container.spec->run.config;
    AttachedClient client;
    client.detach_keys = parse_detach_keys(target.find("detachKeys").value_or(""));
    client.input = target.is_set("stdin") && config.has_input;
    client.output = target.is_set("stdout");
    client.errors = target.is_set("stderr");
    ApiCall::Hijacked connection = call.hijack(!config.tty);
    client.socket = std::move(connection.socket);
    client.first = std::move(connection.first);
    if (!client.socket.valid()) {
        return;
    }
    if (target.is_set("logs") && !replay_log(client.socket.get(), container, client.output, client.errors)) {
        return;
    }
    if (target.is_set("stream")) {
        containers_.attach(container.id, std::move(client));
    }
}

void ContainerApi::logs(ApiCall& call, const std::string& name) {
    send_logs(call, containers_, events_, name);
}

void ContainerApi::stats(ApiCall& call, const std::string& name) {
    send_stats(call, containers_, name);
}

void ContainerApi::top(ApiCall& call, const std::string& name) {
    const ProcessTable table{call.target().find("ps_args").value_or("")};
    call.send(table.show(containers_.processes(name), Clock::now()));
}

void ContainerApi::events(ApiCall& call, const std::string& /*name*/) {
    send_events(call, events_);
}

void ContainerApi::create_exec(ApiCall& call, const std::string& name) {
    const ContainerView container = containers_.find(name);
    const std::string id =
        containers_.make_exec(name, parse_exec_body(call.body(), container.spec->run.config));
    call.send({{"Id", id}}, 201);
}

void ContainerApi::start_exec(ApiCall& call, const std::string& id) {
    const ExecStart start = parse_exec_start(body_or_nothing(call));
    const ExecView exec = containers_.find_exec(id);
    if (start.is_detached) {
        containers_.start_exec(id, std::nullopt);
        return call.send_nothing(200);
    }
    if (exec.has_started) {
        throw ApiError{409, "Error: Exec command " + id + " has already run"};
    }
    AttachedClient client;
    client.detach_keys = parse_detach_keys(exec.config.detach_keys);
    client.input = exec.config.has_input;
    client.output = exec.config.has_output;
    client.errors = exec.config.has_errors;
    ApiCall::Hijacked connection = call.hijack(!exec.config.tty);
    if (!connection.socket.valid()) {
        return;
    }
    const UniqueFd answer = duplicate(connection.socket.get());
    client.socket = std::move(connection.socket);
    client.first = std::move(connection.first);
    try {
        containers_.start_exec(id, std::move(client));
    } catch (const std::exception& error) {
        // The stream is all that is left to say it in, as Docker does.
        const std::string text = std::string{error.what()} + "\r\n";
        const std::string frame = exec.config.tty ? text : framed(1, text);
        send(answer.get(), frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

void ContainerApi::resize_exec(ApiCall& call, const std::string& id) {
    const Size size = size_of(call);
    containers_.resize_exec(id, size.rows, size.columns);
    call.send_nothing(201);
}

void ContainerApi::inspect_exec(ApiCall& call, const std::string& id) {
    call.send(exec_json(containers_.find_exec(id)));
}

std::vector<uint8_t> parse_detach_keys(const std::string& text) {
    if (text.empty()) {
        return AttachedClient{}.detach_keys;
    }
    constexpr size_t kMostKeys = 32;
    constexpr std::string_view kControl = "ctrl-";
    constexpr std::string_view kAfterLetters = "[\\]^_";  // from 27 on
    std::vector<uint8_t> keys;
    std::string_view rest = text;
    for (;;) {
        const size_t comma = rest.find(',');
        const std::string_view key = rest.substr(0, comma);
        const char last = key.empty() ? '\0' : key.back();
        if (key.size() == 1) {
            keys.push_back(static_cast<uint8_t>(last));
        } else if (key.size() == kControl.size() + 1 && key.starts_with(kControl) && last >= 'a' &&
                   last <= 'z') {
            keys.push_back(static_cast<uint8_t>(last - 'a' + 1));
        } else if (key == "ctrl-@") {
            keys.push_back(0);
        } else if (key.size() == kControl.size() + 1 && key.starts_with(kControl) &&
                   kAfterLetters.find(last) != std::string_view::npos) {
            constexpr size_t kFirst = 27;
            keys.push_back(static_cast<uint8_t>(kFirst + kAfterLetters.find(last)));
        } else {
            throw ApiError{400, "Invalid escape keys (" + printable(text) + ") provided"};
        }
        if (comma == std::string_view::npos) {
            break;
        }
        rest.remove_prefix(comma + 1);
    }
    if (keys.size() > kMostKeys) {
        throw ApiError{400, "Invalid escape keys: more than 32 are provided"};
    }
    return keys;
}

}  // namespace hull::container
