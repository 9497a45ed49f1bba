// What an operation tells its client while it goes on.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "container/api/http_server.h"
#include "container/image/load.h"
#include "container/image/pull.h"
#include "container/image/push.h"

namespace hull::container {

/// Docker's lines of JSON. The first one begins the answer. One thread.
class ProgressLines {
  public:
    /// Outlives it.
    explicit ProgressLines(ApiCall& call) : call_{call} {}

    void tell(const std::string& status, const std::string& id = {});
    void tell(const LayerProgress& layer);
    /// How far something has come, of `total` bytes (0: nobody knows).
    void tell_progress(const std::string& status, uint64_t done, uint64_t total);
    void tell(const PushProgress& layer);
    void tell(const Pushed& pushed, const std::string& tag);
    void tell(const LoadProgress& layer);
    void tell(const Loaded& loaded);
    /// A text as it is, for people.
    void print(const std::string& text);
    void tell_of_image(const Digest& image);
    /// The end: `code` is, where it is not 0, what the client ends with.
    void fail(const std::string& why, int code = 0);
    /// Whether nobody reads them any more.
    [[nodiscard]] bool is_vain() const { return is_vain_; }

  private:
    void write(const boost::json::object& line);

    ApiCall& call_;
    bool is_vain_ = false;
};

}  // namespace hull::container
