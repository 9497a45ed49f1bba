#include "vmm/agent/relayed_streams.h"

#include <utility>

namespace hull {

bool RelayedStreams::has_room() {
    pumps_.remove_if([](const auto& pump) { return !pump; });
    return pumps_.size() < 2 * most_;
}

void RelayedStreams::add(UniqueFd one, UniqueFd other) {
    UniqueFd one_again = duplicate(one.get());
    UniqueFd other_again = duplicate(other.get());
    carry(std::move(one), std::move(other));
    carry(std::move(other_again), std::move(one_again));
}

void RelayedStreams::carry(UniqueFd from, UniqueFd to) {
    std::optional<StreamPump>& place = pumps_.emplace_back();
    place.emplace(loop_, std::move(from), std::move(to), [&place] { place.reset(); });
}

}  // namespace hull
