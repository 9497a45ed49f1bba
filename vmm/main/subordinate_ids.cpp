#include "vmm/main/subordinate_ids.h"

#include <unistd.h>

#include <charconv>
#include <fstream>
#include <string>

#include "vmm/main/helper_process.h"

namespace hull {

namespace {

bool read_number(const std::string& text, uint32_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
}

/// By the host's own program, which finds what a static one cannot; empty where it has none.
std::string name_of(uid_t user) {
    const std::string line =
        output_of("getent", "getent passwd \"$0\" >&3 2>/dev/null", std::to_string(user));
    return line.substr(0, line.find(':'));
}

}  // namespace

/// A line is "USER:FIRST:COUNT", with a name or a number.
std::optional<SubordinateIds::Range> SubordinateIds::range_in(const char* file, const std::string& name,
                                                              uid_t user) {
    std::ifstream lines{file};
    for (std::string line; std::getline(lines, line);) {
        const size_t first = line.find(':');
        const size_t count = first == std::string::npos ? first : line.find(':', first + 1);
        const std::string whose = line.substr(0, first);
        Range range{};
        if (count != std::string::npos && !whose.empty() &&
            (whose == name || whose == std::to_string(user)) &&
            read_number(line.substr(first + 1, count - first - 1), range.first) &&
            read_number(line.substr(count + 1), range.count) && range.count > 0) {
            return range;
        }
    }
    return std::nullopt;
}

std::optional<SubordinateIds> SubordinateIds::of(uid_t user) {
    if (access("/usr/bin/newuidmap", X_OK) != 0 || access("/usr/bin/newgidmap", X_OK) != 0) {
        return std::nullopt;
    }
    const std::string name = name_of(user);
    const auto users = range_in("/etc/subuid", name, user);
    const auto groups = range_in("/etc/subgid", name, user);
    return users && groups ? std::optional{SubordinateIds{*users, *groups}} : std::nullopt;
}

bool SubordinateIds::map(pid_t process) const {
    const auto command = [](const char* program, id_t own, const Range& range) {
        return std::string{program} + " \"$0\" 0 " + std::to_string(own) + " 1 1 " +
               std::to_string(range.first) + " " + std::to_string(range.count);
    };
    return output_of("newuidmap",
                     "{ " + command("/usr/bin/newuidmap", geteuid(), users_) + " && " +
                         command("/usr/bin/newgidmap", getegid(), groups_) + "; } 2>&3 || echo failed >&3",
                     std::to_string(process))
        .empty();
}

}  // namespace hull
