// What happens to containers, for whoever wants to know as it does.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace hull::container {

/// As Docker's events are.
struct Event {
    std::string type;                               ///< "container", "image", "network" or "volume"
    std::string action;                             ///< "start"
    std::string id;                                 ///< of it; of a volume its name
    std::map<std::string, std::string> attributes;  ///< "name", "image", "exitCode", labels
    std::chrono::system_clock::time_point time;
};

/// Tells events to those who listen, in their order. Any thread.
class Events {
  public:
    static constexpr size_t kMostKept = 256;  ///< past ones, for who asks since a time
    static constexpr size_t kMostWaiting =
        4096;  ///< of a listener that does not take them: it loses the rest

    class Listener {
      public:
        /// Readable when there is one.
        [[nodiscard]] int fd() const { return ready_.get(); }
        /// Those that have come, the oldest first.
        std::vector<Event> take();

      private:
        friend class Events;
        std::mutex mutex_;
        std::vector<Event> waiting_;
        UniqueFd ready_ = make_eventfd();
    };

    void tell(Event event);
    /// From now on, and those past ones that are kept and not older than `since`. It is told until its
    /// pointer is gone.
    std::shared_ptr<Listener> listen(
        std::optional<std::chrono::system_clock::time_point> since = std::nullopt);

  private:
    std::mutex mutex_;
    std::deque<Event> past_;
    std::list<std::weak_ptr<Listener>> listeners_;
};

}  // namespace hull::container
