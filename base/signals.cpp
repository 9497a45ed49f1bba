#include "base/signals.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <cerrno>

#include "base/error.h"

namespace hull {

UniqueFd catch_signals(std::initializer_list<int> numbers) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : numbers) {
        sigaddset(&set, number);
    }
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    UniqueFd fd{signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!fd.valid()) {
        throw Error{ExitStatus::no_resources, "cannot wait for signals", errno_text(errno)};
    }
    return fd;
}

}  // namespace hull
