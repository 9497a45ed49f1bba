// What Docker's Engine API has of what is in containers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "container/api/http_server.h"
#include "container/image/store.h"
#include "container/life/containers.h"
#include "container/life/events.h"

namespace hull::container {

/// Answers requests for files out of containers and into them, for all of one, for what has changed in one,
/// and to make an image of that, as dockerd does. Any number of threads.
class ContentsApi {
  public:
    /// All outlive it.
    ContentsApi(Store& store, Containers& containers) : store_{store}, containers_{containers} {}

    /// For the server: whether such a request's body may be large.
    static bool is_stream(std::string_view method, const RequestTarget& target);
    /// False where it is about something else. Throws ApiError and Error.
    bool answer(ApiCall& call);

  private:
    void show_status(ApiCall& call, const std::string& name);
    void send_files(ApiCall& call, const std::string& name);
    void take_files(ApiCall& call, const std::string& name);
    void send_all(ApiCall& call, const std::string& name);
    void show_changes(ApiCall& call, const std::string& name);
    void commit(ApiCall& call);

    Store& store_;
    Containers& containers_;
};

/// The mode of a file of st_mode `mode` as Go numbers it (os.FileMode), which is what clients get.
uint32_t go_mode(uint32_t mode);

}  // namespace hull::container
