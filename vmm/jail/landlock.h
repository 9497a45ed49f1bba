// Landlock: a process gives up files, connections and signals for good (Linux,
// Documentation/userspace-api/landlock.rst).
#pragma once

namespace hull::jail {

/// The version that the kernel has, 1 or more; -1 with errno where it has none.
int landlock_version();

/// Denies the calling thread, and those that it makes from now on, all that this kernel's version can deny;
/// what is open stays usable. It must have given up new privileges before. False with errno where it fails.
bool deny_by_landlock();

}  // namespace hull::jail
