#include "container/life/container_entry.h"

#include <poll.h>

#include <boost/json/array.hpp>
#include <cmath>
#include <utility>

#include "base/printable.h"

namespace hull::container {

namespace json = boost::json;

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

std::optional<json::object> ask(const ContainerFiles& files, const json::object& question, int descriptor,
                                std::chrono::seconds patience) {
    Channel channel = Channel::connect(files.socket());
    if (!channel.valid() || !channel.send(question, descriptor)) {
        return std::nullopt;
    }
    pollfd entry{channel.fd(), POLLIN, 0};
    if (poll(&entry, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) != 1) {
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
    return RunState::from_object(state->get_object());
}

json::object client_message(const char* what, const AttachedClient& client) {
    json::array keys;
    for (const uint8_t key : client.detach_keys) {
        keys.emplace_back(key);
    }
    return {{"do", what},
            {"input", client.input},
            {"output", client.output},
            {"errors", client.errors},
            {"keys", std::move(keys)},
            {"first", hexadecimal(client.first)}};
}

}  // namespace hull::container
