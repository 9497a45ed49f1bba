// Several pieces of an image at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace hull::container {

/// Calls `work` with each number below `count`, three at a time on as many threads. After one has failed, or
/// `is_given_up` has become true by another hand, none is begun; then it becomes true, for those that go on
/// to look at, and the first failure is thrown when all have ended.
void do_at_once(size_t count, std::atomic<bool>& is_given_up, const std::function<void(size_t)>& work);

}  // namespace hull::container
