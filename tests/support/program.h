// A program of the host's that a test starts and ends.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "tests/support/files.h"

namespace hull::test {

/// Runs until it is ended, or this is destroyed. Its standard input is a pipe that nobody writes to; what it
/// says is added to `log`.
class Program {
  public:
    explicit Program(std::vector<std::string> words, const std::string& log = "/dev/null") {
        Pipe input = make_pipe();
        pid_ = fork();
        if (pid_ == 0) {
            constexpr mode_t kMode = 0600;
            const UniqueFd said{open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kMode)};
            dup2(input.read_end.get(), STDIN_FILENO);
            dup2(said.get(), STDOUT_FILENO);
            dup2(said.get(), STDERR_FILENO);
            std::vector<char*> arguments;
            for (std::string& word : words) {
                arguments.push_back(word.data());
            }
            arguments.push_back(nullptr);
            execvp(arguments.front(), arguments.data());
            _exit(127);
        }
        input_ = std::move(input.write_end);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    ~Program() { end(SIGKILL); }
    void end(int signal) {
        if (pid_ > 0) {
            kill(pid_, signal);
            waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }
    /// Whether it has ended by itself.
    [[nodiscard]] bool has_ended() {
        if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) {
            pid_ = -1;
        }
        return pid_ < 0;
    }

  private:
    pid_t pid_ = -1;
    UniqueFd input_;
};

}  // namespace hull::test
