#include "container/image/at_once.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace hull::container {

void do_at_once(size_t count, std::atomic<bool>& is_given_up, const std::function<void(size_t)>& work) {
    constexpr size_t kMostAtOnce = 3;
    std::atomic<size_t> next = 0;
    std::mutex mutex;
    std::exception_ptr failure;
    const auto work_on = [&] {
        for (size_t number = 0; !is_given_up && (number = next++) < count;) {
            try {
                work(number);
            } catch (...) {
                const std::lock_guard lock{mutex};
                if (!failure) {
                    failure = std::current_exception();
                }
                is_given_up = true;
            }
        }
    };
    {
        std::vector<std::jthread> others;
        for (size_t thread = 1; thread < std::min(kMostAtOnce, count); ++thread) {
            others.emplace_back(work_on);
        }
        work_on();
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

}  // namespace hull::container
