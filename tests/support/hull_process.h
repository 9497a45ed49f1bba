// A hull program that a test started: fed, watched and ended as a user would.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace hull::test {

/// Starts hull (the one built for release, or $HULL_TEST_BINARY) and collects what it prints. Ends it, and
/// its machine, when destroyed.
class HullProcess {
  public:
    enum class Input {
        nothing,   ///< /dev/null
        pipe,      ///< what type() writes
        terminal,  ///< a pseudo-terminal that is standard input and output
    };

    explicit HullProcess(std::vector<std::string> arguments, Input input = Input::nothing);
    HullProcess(const HullProcess&) = delete;
    HullProcess& operator=(const HullProcess&) = delete;
    ~HullProcess();

    /// Reads standard output until `text` has come; a failure, with all that hull said and how it ended, at
    /// its end or when nothing came for kPatience.
    testing::AssertionResult wait_for(const std::string& text);
    /// Reads both outputs for so long; false where they are at their end before.
    bool read_for(std::chrono::milliseconds time);
    /// Writes to its standard input.
    void type(const std::string& text);
    void close_input() { input_.reset(); }
    /// Reads the rest of both outputs and waits for the end. The exit status, 1000 + N where signal N ended
    /// it, or -1 where it did not end in kPatience.
    int wait();
    /// Waits for the end without reading standard output.
    int wait_unread();

    /// Has the pipe of its standard output hold no more than a page of what was not read yet.
    void make_output_narrow();

    /// Its jail may refuse it something, which is otherwise a failure of the test.
    void may_be_refused() { may_be_refused_ = true; }

    [[nodiscard]] const std::string& out() const { return out_; }
    /// Standard error; complete after wait().
    [[nodiscard]] const std::string& err() const { return err_; }
    [[nodiscard]] pid_t keeper() const { return pid_; }
    /// The machine's process, forked by the keeper; waits until it is there.
    [[nodiscard]] pid_t machine() const;
    /// The programs that work for the machine, started by the keeper.
    [[nodiscard]] std::vector<pid_t> helpers() const { return children(true); }
    /// The terminal that hull is on.
    [[nodiscard]] int terminal() const { return terminal_.get(); }

    /// The size of that terminal.
    static constexpr unsigned short kTerminalRows = 31;
    static constexpr unsigned short kTerminalColumns = 97;

    /// An emulated host takes its time.
    static constexpr std::chrono::seconds kPatience{120};

  private:
    [[nodiscard]] std::vector<pid_t> children(bool are_helpers) const;
    /// False where nothing came in `patience`, or both outputs are at their end.
    bool read_some(std::chrono::milliseconds patience);
    bool has_ended();
    /// Adds to err() what each of its threads waits for.
    void tell_where_it_is_stuck();
    int reap();

    pid_t pid_ = -1;
    bool ended_ = false;
    bool may_be_refused_ = false;
    int status_ = -1;
    UniqueFd terminal_;  // keeps the terminal, and its mode, when hull has ended
    UniqueFd input_;
    UniqueFd output_;
    UniqueFd error_;
    std::string out_;
    std::string err_;
};

/// A file in the folder that scripts/guest-kernel and scripts/guest-initramfs fill.
std::string guest_file(const std::string& name);

}  // namespace hull::test
