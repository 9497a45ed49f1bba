// The part of Firecracker's REST API that says what a machine is to be, before it starts.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/api/http_server.h"
#include "vmm/machine/config.h"
#include "vmm/machine/snapshot.h"

namespace hull {

/// GET /, /version, /machine-config, /vm/config; PUT /machine-config, /boot-source, /drives/ID,
/// /network-interfaces/ID, /vsock, /entropy, /snapshot/load, /actions; PATCH /machine-config. What is put
/// again replaces what was there. What Hull has not got is answered with 400 and a sentence that says so. One
/// thread.
class ConfigApi {
  public:
    /// What a client wants started.
    struct Start {
        std::optional<SnapshotFiles> snapshot;  ///< where it is to go on from one
        bool stays_paused = false;              ///< of such a one
        HttpServer::Reply reply;                ///< when it runs, or why it does not
    };

    /// `config` is what nobody has said anything of yet. `on_start` is called on the server's thread.
    ConfigApi(MachineConfig config, std::function<void(Start)> on_start)
        : config_{std::move(config)}, on_start_{std::move(on_start)} {}

    void handle(const HttpRequest& request, const HttpServer::Reply& reply);
    /// What was said so far.
    [[nodiscard]] const MachineConfig& config() const { return config_; }

  private:
    struct Drive {
        DiskConfig disk;
        std::string root;  ///< words for the kernel where it is the root device; else empty
    };

    /// False for a request that is none of these.
    bool configure(const HttpRequest& request);
    void put_machine(const HttpRequest& request, bool is_whole);
    void put_boot_source(const HttpRequest& request);
    void put_drive(const HttpRequest& request, const std::string& id);
    void put_interface(const HttpRequest& request, const std::string& id);
    void put_vsock(const HttpRequest& request);
    void put_entropy(const HttpRequest& request);
    void act(const HttpRequest& request, const HttpServer::Reply& reply);
    void load_snapshot(const HttpRequest& request, const HttpServer::Reply& reply);
    /// Brings the drives, the interfaces and the command line into config_.
    void collect();

    MachineConfig config_;
    std::optional<std::string> boot_args_;
    std::vector<Drive> drives_;  // the root device first
    std::vector<std::pair<std::string, NetConfig>>
        interfaces_;  // by their ids, in the order in which they came
    std::function<void(Start)> on_start_;
};

}  // namespace hull
