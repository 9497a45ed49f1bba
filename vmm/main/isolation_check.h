// The part of `hull check` that looks at what keeps guests apart from each other and from the host
// (SECURITY.md, "The host's settings").
#pragma once

#include <filesystem>
#include <vector>

#include "vmm/main/host_check.h"

namespace hull {

/// Reads the settings below `root`, which is "/" but for tests. No verdict is a failure: guests run without,
/// and the user decides whom they trust.
std::vector<CheckResult> check_isolation_settings(const std::filesystem::path& root);

/// Those layers of the jail that this user's machines can have or not; what check_isolation_settings() tells
/// of left out. Forks for it.
std::vector<CheckResult> check_jail();

/// Whether this user's processes can have a user namespace of their own, with the rights that it should give.
/// Forks for it.
CheckResult check_user_namespaces();

}  // namespace hull
