// Starts the commands that the host asks for.
#pragma once

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "guest/agent/protocol.h"

namespace hull::agent {

/// Lists of texts, each with a null behind the last. No request has room for more than these.
struct RunWords {
    static constexpr size_t kMost = kMostRequest / 9;
    const char* arguments[kMost + 1];
    const char* environment[kMost + 2];  ///< and room for one more
};

/// What a kRun request says. The texts lie in the request.
struct RunRequest {
    static constexpr size_t kMostLimits = 16;
    static constexpr size_t kMostPlaces = 64;
    struct Limit {
        int resource;
        rlimit values;
    };

    const char** arguments = nullptr;  ///< of RunWords
    const char** environment = nullptr;
    const char* root = nullptr;  ///< null: the agent's own
    const char* folder = "/";
    uint64_t namespaces = 0;
    bool joins = false;
    uint32_t joined = 0;  ///< the number of the command whose namespaces it runs in, where it does
    const char* host_name = nullptr;  ///< null for what it is
    const char* group = nullptr;      ///< null: the agent's own
    const char* user = nullptr;       ///< null: root, without a look at files
    uint64_t capabilities = ~uint64_t{0};
    bool no_new_privileges = false;
    bool has_init = false;
    Limit limits[kMostLimits];
    size_t limit_count = 0;
    const char* hidden[kMostPlaces + 1];      ///< with a null behind the last
    const char* unwritable[kMostPlaces + 1];  ///< likewise
    bool has_terminal = false;
    uint16_t rows = 0;
    uint16_t columns = 0;

    /// False where it is malformed, or has no argument. Fills `words`.
    bool parse(const Frame& frame, RunWords& words);
    /// Whether a signal is for the process alone.
    [[nodiscard]] bool is_apart() const { return joins || (namespaces & CLONE_NEWPID) != 0; }
    /// Adds a variable, made in `room`, unless there is one of this name ("HOME="). Once.
    void add_default(const char* name, const char* value, char* room, size_t size);

  private:
    bool take(const Field& field);
    size_t argument_count_ = 0;
    size_t environment_count_ = 0;
    size_t hidden_count_ = 0;
    size_t unwritable_count_ = 0;
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
/// be the program when this returns. `joined` is the process whose namespaces it runs in, if there is one,
/// and `root`, open, the command's /. The streams are the caller's to close.
Failure start(RunRequest& request, pid_t joined, int root, pid_t& process, CommandStreams& streams);

/// Closes all of the process's files but the standard streams and these two, of which one may be -1.
bool close_all_but(int one, int other);

/// Gives a terminal its size.
void set_size(int terminal, uint16_t rows, uint16_t columns);

}  // namespace hull::agent
