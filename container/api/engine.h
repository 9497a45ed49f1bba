// Docker's Engine API, as far as Hull serves it.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "container/api/build_api.h"
#include "container/api/container_api.h"
#include "container/api/contents_api.h"
#include "container/api/http_server.h"
#include "container/api/network_api.h"
#include "container/api/transfer_api.h"
#include "container/api/volume_api.h"
#include "container/image/registry.h"
#include "container/image/store.h"

namespace hull::container {

/// Answers requests (Docker's Engine API, versions 1.24 to 1.44) as dockerd does, as far as it is written:
/// what the daemon and its host are, images (TransferApi, too), containers (ContainerApi, ContentsApi),
/// volumes (VolumeApi), and networks (NetworkApi). Everything else is a 404. Any number of threads.
class Engine {
  public:
    /// The store has its lock alone. All outlive it.
    Engine(Store& store, RegistryOptions registries, Containers& containers, Events& events)
        : store_{store},
          registries_{std::move(registries)},
          containers_{containers},
          events_{events},
          transfer_api_{store, registries_, events},
          container_api_{store, containers, events},
          contents_api_{store, containers},
          build_api_{store, registries_, containers, events},
          volume_api_{containers.volumes(), events},
          network_api_{containers, events} {}

    /// For the server: whether such a request's body may be large.
    static bool is_stream(std::string_view method, const RequestTarget& target) {
        return TransferApi::is_stream(method, target) || ContentsApi::is_stream(method, target) ||
               BuildApi::is_stream(method, target);
    }

    /// Throws ApiError and Error.
    void answer(ApiCall& call);

  private:
    void show_version(ApiCall& call) const;
    void show_info(ApiCall& call) const;
    void show_use(ApiCall& call) const;
    void list_images(ApiCall& call) const;
    void inspect_image(ApiCall& call, const std::string& name) const;
    void show_history(ApiCall& call, const std::string& name) const;
    void tag_image(ApiCall& call, const std::string& name);
    void remove_image(ApiCall& call, const std::string& name);
    void prune_images(ApiCall& call);
    // A 404 where there is none.
    [[nodiscard]] StoredImage find_image(const std::string& name) const;
    void require_image(const std::string& name) const;
    /// A 409 where a container is of the image, which would go.
    void require_unused(const std::string& name) const;
    [[nodiscard]] std::function<bool(const Digest&)> used_by_containers() const;

    Store& store_;
    RegistryOptions registries_;
    Containers& containers_;
    Events& events_;
    TransferApi transfer_api_;
    ContainerApi container_api_;
    ContentsApi contents_api_;
    BuildApi build_api_;
    VolumeApi volume_api_;
    NetworkApi network_api_;
};

}  // namespace hull::container
