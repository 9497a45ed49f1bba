// Starts the commands that the host asks for.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/agent/protocol.h"

namespace hull::agent {

/// What a kRun request says. The texts lie in the request.
struct RunRequest {
    static constexpr size_t kMostWords = 8192;

    const char* arguments[kMostWords + 1];    ///< with a null behind the last
    const char* environment[kMostWords + 1];  ///< likewise
    const char* root = nullptr;               ///< null: the agent's own
    const char* folder = "/";
    uint64_t capabilities = ~uint64_t{0};
    bool has_terminal = false;
    uint16_t rows = 0;
    uint16_t columns = 0;

    /// False where it is malformed, has no argument or too many.
    bool parse(const Frame& frame);

  private:
    bool take(const Field& field);
    size_t argument_count_ = 0;
    size_t environment_count_ = 0;
};

/// The agent's ends of a command's streams; -1 for what it has not.
struct CommandStreams {
    int input = -1;
    int output = -1;
    int errors = -1;
    int terminal = -1;  ///< instead of the three above
};

/// What could not be done, as kFailed tells it.
struct Failure {
    int error = 0;  ///< an errno; 0: nothing failed
    const char* what = "";
};

/// Starts it, in a session and process group of its own, whose number is that of the process; it has begun to
/// be the program when this returns. The streams are the caller's to close.
Failure start(const RunRequest& request, pid_t& process, CommandStreams& streams);

/// Gives a terminal its size.
void set_size(int terminal, uint16_t rows, uint16_t columns);

}  // namespace hull::agent
