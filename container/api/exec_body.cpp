#include "container/api/exec_body.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/image/json.h"
#include "guest/agent/protocol.h"

namespace hull::container {

namespace json = boost::json;

namespace {

const std::string kTried = "cannot run a command in the container";

const json::object& object_of(const json::value& body) {
    const json::object* const object = body.if_object();
    if (object == nullptr) {
        throw ApiError{400, kTried + ": the request's body is no object"};
    }
    return *object;
}

void set_variable(std::vector<std::string>& environment, const std::string& variable) {
    const auto name_of = [](std::string_view each) { return each.substr(0, each.find('=')); };
    if (variable.empty() || variable.front() == '=') {
        throw ApiError{400, "invalid environment variable: " + printable(variable)};
    }
    std::erase_if(environment, [&](const std::string& each) { return name_of(each) == name_of(variable); });
    if (variable.find('=') != std::string::npos) {
        environment.push_back(variable);
    }
}

}  // namespace

ExecConfig parse_exec_body(const json::value& body, const ContainerConfig& config) {
    try {
        const JsonObject read{object_of(body), kTried, ""};
        ExecConfig exec;
        exec.command = read.texts("Cmd");
        if (exec.command.empty() || exec.command.front().empty()) {
            throw ApiError{400, "No exec command specified"};
        }
        exec.environment = config.environment;
        exec.tty = read.flag("Tty");
        if (exec.tty) {
            set_variable(exec.environment, "TERM=xterm");
        }
        size_t size = 0;
        for (const std::string& variable : read.texts("Env")) {
            set_variable(exec.environment, variable);
        }
        exec.user = read.text("User");
        exec.working_folder = read.text("WorkingDir");
        if (!exec.working_folder.empty() && exec.working_folder.front() != '/') {
            throw ApiError{400, "the working directory '" + printable(exec.working_folder) +
                                    "' is invalid, it needs to be an absolute path"};
        }
        exec.has_input = read.flag("AttachStdin");
        exec.has_output = read.flag("AttachStdout");
        exec.has_errors = read.flag("AttachStderr");
        exec.is_privileged = read.flag("Privileged");
        exec.detach_keys = read.text("DetachKeys");
        constexpr size_t kForEach = 16;
        constexpr size_t kMost = size_t{64}
                                 << 10;  // in a message to the supervisor, and in hexadecimal there
        for (const auto* list : {&exec.command, &exec.environment}) {
            for (const std::string& text : *list) {
                size += text.size() + kForEach;
            }
        }
        if (size + exec.user.size() + exec.working_folder.size() > kMost) {
            throw ApiError{400, kTried + ": its arguments and variables are more than 64 KiB together"};
        }
        return exec;
    } catch (const Error& error) {
        throw ApiError{400, error.what()};
    }
}

ExecStart parse_exec_start(const json::value& body) {
    try {
        const JsonObject read{object_of(body), kTried, ""};
        return {.is_detached = read.flag("Detach"), .tty = read.flag("Tty")};
    } catch (const Error& error) {
        throw ApiError{400, error.what()};
    }
}

}  // namespace hull::container
