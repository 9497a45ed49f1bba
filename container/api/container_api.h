// The part of Docker's Engine API that is about containers.
#pragma once

#include <string>

#include "container/api/http_server.h"
#include "container/image/store.h"
#include "container/life/containers.h"
#include "container/life/events.h"

namespace hull::container {

/// Answers requests about containers, their commands and events as dockerd does. Any number of threads.
class ContainerApi {
  public:
    /// All outlive it.
    ContainerApi(Store& store, Containers& containers, Events& events)
        : store_{store}, containers_{containers}, events_{events} {}

    /// False where the request is of something else. Throws ApiError and Error.
    bool answer(ApiCall& call);

  private:
    struct Route;
    static const Route kRoutes[];

    void list(ApiCall& call, const std::string& name);
    void create(ApiCall& call, const std::string& name);
    void prune(ApiCall& call, const std::string& name);
    void inspect(ApiCall& call, const std::string& name);
    void start(ApiCall& call, const std::string& name);
    void stop(ApiCall& call, const std::string& name);
    void restart(ApiCall& call, const std::string& name);
    void kill(ApiCall& call, const std::string& name);
    void pause(ApiCall& call, const std::string& name);
    void unpause(ApiCall& call, const std::string& name);
    void wait(ApiCall& call, const std::string& name);
    void rename(ApiCall& call, const std::string& name);
    void update(ApiCall& call, const std::string& name);
    void remove(ApiCall& call, const std::string& name);
    void resize(ApiCall& call, const std::string& name);
    void attach(ApiCall& call, const std::string& name);
    void logs(ApiCall& call, const std::string& name);
    void stats(ApiCall& call, const std::string& name);
    void top(ApiCall& call, const std::string& name);
    void events(ApiCall& call, const std::string& name);
    void create_exec(ApiCall& call, const std::string& name);
    void start_exec(ApiCall& call, const std::string& id);
    void resize_exec(ApiCall& call, const std::string& id);
    void inspect_exec(ApiCall& call, const std::string& id);

    Store& store_;
    Containers& containers_;
    Events& events_;
};

/// Docker's "ctrl-p,ctrl-q", or single characters, as bytes; the usual ones of an empty text. Throws ApiError
/// (400).
std::vector<uint8_t> parse_detach_keys(const std::string& text);

}  // namespace hull::container
