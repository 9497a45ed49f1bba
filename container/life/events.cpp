#include "container/life/events.h"

#include <algorithm>
#include <utility>

namespace hull::container {

std::vector<Event> Events::Listener::take() {
    drain_eventfd(ready_.get());
    const std::lock_guard lock{mutex_};
    return std::exchange(waiting_, {});
}

void Events::tell(Event event) {
    const std::lock_guard lock{mutex_};
    past_.push_back(event);
    if (past_.size() > kMostKept) {
        past_.pop_front();
    }
    listeners_.remove_if([&](const std::weak_ptr<Listener>& each) {
        const std::shared_ptr<Listener> listener = each.lock();
        if (listener == nullptr) {
            return true;
        }
        const std::lock_guard own{listener->mutex_};
        if (listener->waiting_.size() < kMostWaiting) {
            listener->waiting_.push_back(event);
            signal_eventfd(listener->ready_.get());
        }
        return false;
    });
}

std::shared_ptr<Events::Listener> Events::listen(std::optional<std::chrono::system_clock::time_point> since) {
    auto listener = std::make_shared<Listener>();
    const std::lock_guard lock{mutex_};
    if (since) {
        std::ranges::copy_if(past_, std::back_inserter(listener->waiting_),
                             [&](const Event& event) { return event.time >= *since; });
        if (!listener->waiting_.empty()) {
            signal_eventfd(listener->ready_.get());
        }
    }
    listeners_.push_back(listener);
    return listener;
}

}  // namespace hull::container
