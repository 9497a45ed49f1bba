// What Docker's Engine API has of builds.
#pragma once

#include <string_view>

#include "container/api/http_server.h"
#include "container/image/registry.h"
#include "container/image/store.h"
#include "container/life/containers.h"
#include "container/life/events.h"

namespace hull::container {

/// Answers POST /build as dockerd 20.10's classic builder does. Any number of threads: each build is its own.
class BuildApi {
  public:
    /// All outlive it.
    BuildApi(Store& store, const RegistryOptions& registries, Containers& containers, Events& events)
        : store_{store}, registries_{registries}, containers_{containers}, events_{events} {}

    /// For the server: whether such a request's body may be large.
    static bool is_stream(std::string_view method, const RequestTarget& target);
    /// False where it is about something else. Throws ApiError and Error.
    bool answer(ApiCall& call);

  private:
    void build(ApiCall& call);

    Store& store_;
    const RegistryOptions& registries_;
    Containers& containers_;
    Events& events_;
};

}  // namespace hull::container
