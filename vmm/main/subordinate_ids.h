// The ids that a host gives an ordinary user beside their own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace hull {

/// Users and groups that may be mapped into a user namespace of this user's (subuid(5), subgid(5)): the first
/// range of each.
class SubordinateIds {
  public:
    /// None where the host gives the user none, or has no newuidmap and newgidmap. Throws Error
    /// (no_resources). Any thread.
    static std::optional<SubordinateIds> of(uid_t user);

    /// In that process's new user namespace the caller is user and group 0 from here on, and these are 1 and
    /// what follows. False where that cannot be; nothing is mapped then, or the users alone. Throws Error
    /// (no_resources).
    [[nodiscard]] bool map(pid_t process) const;

  private:
    struct Range {
        uint32_t first;
        uint32_t count;
    };
    static std::optional<Range> range_in(const char* file, const std::string& name, uid_t user);

    SubordinateIds(Range users, Range groups) : users_{users}, groups_{groups} {}

    Range users_;
    Range groups_;
};

}  // namespace hull
