#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/error.h"

namespace hull {

void take_random(std::span<std::byte> target) {
    // Neither blocks nor falls short for so few bytes once the host is up (getrandom(2)).
    if (getrandom(target.data(), target.size(), 0) != static_cast<ssize_t>(target.size())) {
        throw Error{ExitStatus::internal_failure, "cannot get random numbers from the host",
                    errno_text(errno)};
    }
}

}  // namespace hull
