// What Docker's Engine API answers of volumes.
#pragma once

#include <boost/json/object.hpp>

#include "container/api/http_server.h"
#include "container/life/events.h"
#include "container/life/volumes.h"

namespace hull::container {

/// As GET /volumes/NAME shows it.
boost::json::object volume_json(const Volume& volume);

/// Any number of threads.
class VolumeApi {
  public:
    /// Both outlive it.
    VolumeApi(Volumes& volumes, Events& events) : volumes_{volumes}, events_{events} {}

    /// False where the request is of something else. Throws ApiError and Error.
    bool answer(ApiCall& call);

  private:
    void list(ApiCall& call) const;
    void create(ApiCall& call);
    void remove(ApiCall& call, const std::string& name);
    void prune(ApiCall& call);

    Volumes& volumes_;
    Events& events_;
};

}  // namespace hull::container
