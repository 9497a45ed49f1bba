#include "vmm/api/machine_api.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/api/described_machine.h"
#include "vmm/api/request_body.h"

namespace hull {

namespace {

using Reply = HttpServer::Reply;

constexpr const char* kTooLate = "The requested operation is not supported after starting the microVM.";

/// Whether it says what a machine is to be.
bool is_for_before(const HttpRequest& request) {
    constexpr std::array<std::string_view, 7> kPaths{"/boot-source", "/machine-config",      "/drives/",
                                                     "/entropy",     "/network-interfaces/", "/snapshot/load",
                                                     "/vsock"};
    return request.method == "PUT" && std::ranges::any_of(kPaths, [&](std::string_view path) {
               return path.ends_with('/') ? request.target.starts_with(path) : request.target == path;
           });
}

}  // namespace

ControlledMachine::Done answer_with(HttpServer::Reply reply) {
    return [reply = std::move(reply)](const std::string& why_not) {
        reply(why_not.empty() ? HttpAnswer{} : HttpServer::fault(why_not));
    };
}

void MachineApi::handle(const HttpRequest& request, const Reply& reply) {
    const std::string what = request.method + " " + request.target;
    try {
        if (const auto answer =
                describe(request, machine_.config(), machine_.is_paused() ? "Paused" : "Running")) {
            reply(*answer);
        } else if (what == "PATCH /vm") {
            change_vm(request, reply);
        } else if (what == "PUT /actions") {
            act(request, reply);
        } else if (what == "PUT /snapshot/create") {
            create_snapshot(request, reply);
        } else if (is_for_before(request)) {
            reply(HttpServer::fault(kTooLate));
        } else {
            reply(HttpServer::fault("Invalid request method and/or path: " + what + "."));
        }
    } catch (const BadBody& error) {
        reply(HttpServer::fault(error.what()));
    }
}

void MachineApi::change_vm(const HttpRequest& request, const Reply& reply) {
    const std::string state = RequestBody{request.body, {"state"}}.text("state");
    if (state == "Paused") {
        machine_.pause(answer_with(reply));
    } else if (state == "Resumed") {
        machine_.resume(answer_with(reply));
    } else {
        RequestBody::refuse_variant(state, "`Paused` or `Resumed`");
    }
}

void MachineApi::act(const HttpRequest& request, const Reply& reply) {
    const std::string action = RequestBody{request.body, {"action_type"}}.text("action_type");
    if (action == "SendCtrlAltDel") {
        machine_.press_power_button();
        reply({});
    } else if (action == "InstanceStart") {
        reply(HttpServer::fault(kTooLate));
    } else if (action == "FlushMetrics") {
        reply(HttpServer::fault("Hull has no metrics yet."));
    } else {
        RequestBody::refuse_variant(action, "one of `FlushMetrics`, `InstanceStart`, `SendCtrlAltDel`");
    }
}

void MachineApi::create_snapshot(const HttpRequest& request, const Reply& reply) {
    const RequestBody body{request.body, {"snapshot_type", "snapshot_path", "mem_file_path"}};
    const SnapshotFiles files{body.text("snapshot_path"), body.text("mem_file_path")};
    const std::string type = body.text("snapshot_type", "Full");
    if (type == "Diff") {
        reply(HttpServer::fault("Hull takes no incremental snapshots yet: take a Full one."));
    } else if (type != "Full") {
        RequestBody::refuse_variant(type, "`Full` or `Diff`");
    } else if (!machine_.is_paused()) {
        reply(HttpServer::fault("Cannot take a snapshot of a machine that runs: pause it first."));
    } else {
        machine_.save(files, answer_with(reply));
    }
}

}  // namespace hull
