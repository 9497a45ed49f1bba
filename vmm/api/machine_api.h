// The REST API of a machine that runs: the part of Firecracker's (firecracker.yaml in its repository,
// src/firecracker/swagger) that controls one.
#pragma once

#include "vmm/api/controlled_machine.h"
#include "vmm/api/http_server.h"

namespace hull {

/// How a request is answered that asks something of a machine, when that is done or is not.
ControlledMachine::Done answer_with(HttpServer::Reply reply);

/// GET /, /version, /machine-config, /vm/config; PATCH /vm; PUT /actions, /snapshot/create. Paths, bodies,
/// statuses and the form of an error ("fault_message") are Firecracker's; what Hull has not got is answered
/// with 400 and a sentence that says so.
class MachineApi {
  public:
    /// The machine outlives it, and answers to none of it later than that.
    explicit MachineApi(ControlledMachine& machine) : machine_{machine} {}

    /// Any request, of a client that is trusted with the machine but may be wrong. On the machine's thread.
    void handle(const HttpRequest& request, const HttpServer::Reply& reply);

  private:
    void change_vm(const HttpRequest& request, const HttpServer::Reply& reply);
    void act(const HttpRequest& request, const HttpServer::Reply& reply);
    void create_snapshot(const HttpRequest& request, const HttpServer::Reply& reply);

    ControlledMachine& machine_;
};

}  // namespace hull
