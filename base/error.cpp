#include "base/error.h"

#include <system_error>

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
    return std::generic_category().message(error_number);
}

}  // namespace hull
