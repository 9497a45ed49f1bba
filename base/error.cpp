#include "base/error.h"

#include <cstring>

namespace hull {

namespace {

std::string join(std::string_view tried, std::string_view why, std::string_view advice) {
    std::string line{tried};
    line.append(": ").append(why);
    if (!advice.empty()) {
        line.append("; ").append(advice);
    }
    return line;
}

}  // namespace

Error::Error(ExitStatus status, std::string_view tried, std::string_view why, std::string_view advice)
    : std::runtime_error{join(tried, why, advice)}, status_{status} {}

std::string errno_text(int error_number) {
    char room[128];
    return strerror_r(error_number, room, sizeof room);  // GNU's, which may leave the room empty
}

}  // namespace hull
