// What Docker's Engine API answers of networks.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "container/api/http_server.h"
#include "container/life/containers.h"
#include "container/life/events.h"
#include "container/life/networks.h"

namespace hull::container {

/// As GET /networks shows it, without those who are in it.
boost::json::object network_json(const Network& network);

/// Any number of threads.
class NetworkApi {
  public:
    /// Both outlive it.
    NetworkApi(Containers& containers, Events& events)
        : containers_{containers}, networks_{containers.networks()}, events_{events} {}

    /// False where the request is of something else. Throws ApiError and Error.
    bool answer(ApiCall& call);

  private:
    void list(ApiCall& call) const;
    void inspect(ApiCall& call, const std::string& name) const;
    void create(ApiCall& call);
    void remove(ApiCall& call, const std::string& name);
    void connect(ApiCall& call, const std::string& name);
    void disconnect(ApiCall& call, const std::string& name);
    void prune(ApiCall& call);
    /// Whether a container is in it, be it at rest.
    [[nodiscard]] bool is_used(const Network& network) const;

    Containers& containers_;
    Networks& networks_;
    Events& events_;
};

}  // namespace hull::container
