#include "base/timer.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/error.h"

namespace hull {

Timer::Timer(EventLoop& loop, std::function<void()> handler)
    : loop_{loop}, fd_{timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)} {
    if (!fd_.valid()) {
        throw Error{ExitStatus::no_resources, "cannot make a timer", errno_text(errno)};
    }
    loop_.watch(fd_.get(), [fd = fd_.get(), handler = std::move(handler)] {
        uint64_t times = 0;
        if (read(fd, &times, sizeof times) == sizeof times) {  // not one that was set anew meanwhile
            handler();
        }
    });
}

Timer::~Timer() {
    loop_.forget(fd_.get());
}

void Timer::set(std::chrono::nanoseconds delay) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(delay);
    itimerspec when{};
    when.it_value.tv_sec = seconds.count();
    when.it_value.tv_nsec = (delay - seconds).count();
    timerfd_settime(fd_.get(), 0, &when, nullptr);
}

}  // namespace hull
