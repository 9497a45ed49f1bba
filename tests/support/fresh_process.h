// A part of a test that runs in a process of its own which begins anew: what earlier tests left, such as
// malloc()'s arenas of their threads, is not there.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>

#include "tests/support/files.h"

namespace hull::test {

struct Ended {
    int status;          ///< as of waitpid(2)
    std::string errors;  ///< what it wrote to standard error
};

/// Runs the same test once more in a new process as far as to this call, and there `body`, with whose answer
/// that process exits. Once a test, and before it does anything of effect. Temporary files of that process
/// lie in `folder`.
inline Ended run_in_fresh_process(const std::function<int()>& body, const std::string& folder) {
    constexpr const char* kIsFresh = "HULL_TEST_IS_FRESH";
    if (getenv(kIsFresh) != nullptr) {
        syscall(SYS_exit_group, body());  // and nothing else, which may be refused by now
    }
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    const std::string filter = std::string{"--gtest_filter="} + test->test_suite_name() + "." + test->name();
    Pipe errors = make_pipe();
    const pid_t child = fork();
    if (child == 0) {
        dup2(errors.write_end.get(), STDERR_FILENO);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        setenv(kIsFresh, "1", 1);
        setenv("TMPDIR", folder.c_str(), 1);
        execl("/proc/self/exe", "test", filter.c_str(), nullptr);
        _exit(127);
    }
    errors.write_end.reset();
    constexpr int kPatience = 300'000;  // milliseconds
    Ended ended{.status = 0, .errors = read_up_to(errors.read_end.get(), SIZE_MAX, kPatience)};
    waitpid(child, &ended.status, 0);
    return ended;
}

}  // namespace hull::test
