// `hull check`: can this host run guests, and how well?
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace hull {

/// One line of the table.
struct CheckResult {
    enum class Verdict {
        good,
        note,     ///< guests run, but slower, with less, or less apart from each other
        failure,  ///< real guests cannot run
    };
    std::string what;
    Verdict verdict;
    std::string found;
    std::string advice;  ///< what to do about it; empty where there is nothing to do
};

/// Looks at the host; takes less than a second, most of it a small guest that measures how fast guest kernel
/// code runs.
std::vector<CheckResult> check_host();

/// Runs `hull check` with the arguments behind it: prints the table (nothing with --quiet) and returns
/// success only where real guests can run, host_unfit otherwise.
ExitStatus run_check(const std::vector<std::string>& arguments);

}  // namespace hull
