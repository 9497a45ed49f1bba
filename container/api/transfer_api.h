// What Docker's Engine API has of images that come and go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "container/api/http_server.h"
#include "container/image/reference.h"
#include "container/image/registry.h"
#include "container/image/save.h"
#include "container/image/store.h"
#include "container/life/events.h"

namespace hull::container {

/// Answers requests (Docker's Engine API, versions 1.24 to 1.44) that get images from registries and put
/// them there, or out of archives and into them; and to log in to a registry. Any number of threads.
class TransferApi {
  public:
    /// All outlive it.
    TransferApi(Store& store, const RegistryOptions& registries, Events& events)
        : store_{store}, registries_{registries}, events_{events} {}

    /// For the server: whether such a request's body may be large.
    static bool is_stream(std::string_view method, const RequestTarget& target);
    /// False where it is about something else. Throws ApiError and Error.
    bool answer(ApiCall& call);

  private:
    void pull_image(ApiCall& call);
    void push_image(ApiCall& call, const std::string& name);
    void import_image(ApiCall& call);
    void log_in(ApiCall& call) const;
    void load_images(ApiCall& call);
    void save_images(ApiCall& call, const std::vector<std::string>& names);
    [[nodiscard]] std::vector<SavedImage> images_to_save(const std::vector<std::string>& names) const;
    /// With what the client says of who it is.
    [[nodiscard]] RegistryOptions registries_for(const ApiCall& call) const;

    Store& store_;
    const RegistryOptions& registries_;
    Events& events_;
};

/// Tells that something has happened to an image ("pull").
void tell_of_image(Events& events, const std::string& action, const std::string& image);

}  // namespace hull::container
