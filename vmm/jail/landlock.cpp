#include "vmm/jail/landlock.h"

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/unique_fd.h"

namespace hull::jail {

namespace {

/// struct landlock_ruleset_attr of version 6, which the headers that this is built with may not have yet.
struct Ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};

/// What each version can deny: so many rights, from the lowest bit on, and how long its structure is.
struct Version {
    unsigned files;    ///< 13 at first, then to move, to cut, and to control devices
    unsigned network;  ///< to bind, to connect (TCP)
    unsigned scoped;   ///< abstract unix sockets, signals
    size_t size;
};
constexpr size_t kFilesOnly = sizeof(uint64_t);
constexpr std::array<Version, 6> kVersions{{{13, 0, 0, kFilesOnly},
                                            {14, 0, 0, kFilesOnly},
                                            {15, 0, 0, kFilesOnly},
                                            {15, 2, 0, 2 * sizeof(uint64_t)},
                                            {16, 2, 0, 2 * sizeof(uint64_t)},
                                            {16, 2, 2, sizeof(Ruleset)}}};

constexpr uint64_t lowest_bits(unsigned count) {
    return (uint64_t{1} << count) - 1;
}

}  // namespace

int landlock_version() {
    return static_cast<int>(
        syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
}

bool deny_by_landlock() {
    const int found = landlock_version();
    if (found < 1) {
        return false;
    }
    const Version& version = kVersions.at(std::min<size_t>(static_cast<size_t>(found), kVersions.size()) - 1);
    // A ruleset without a rule: nothing of what it handles is allowed.
    const Ruleset rules{.files = lowest_bits(version.files),
                        .network = lowest_bits(version.network),
                        .scoped = lowest_bits(version.scoped)};
    const UniqueFd ruleset{static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules, version.size, 0))};
    return ruleset.valid() && syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0;
}

}  // namespace hull::jail
