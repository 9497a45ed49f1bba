// The first of a machine's two processes: it stays outside, and tidies up whoever dies.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>

#include "base/error.h"
#include "base/event_loop.h"
#include "vmm/api/controlled_machine.h"
#include "vmm/api/http_server.h"
#include "vmm/jail/broker.h"
#include "vmm/machine/config.h"
#include "vmm/main/terminal.h"

namespace hull {

/// What keep_machine() is to do.
struct KeptMachine {
    RawTerminal& terminal;
    std::chrono::milliseconds stop_timeout;  ///< 0 or more
    jail::Broker& broker;                    ///< what it asks for while it runs
    const MachineConfig& config;             ///< what it was made of
    EventLoop& loop;                         ///< the keeper's
    HttpServer* api = nullptr;               ///< on that loop, for the machine's API; none: it has none
    bool is_paused = false;                  ///< it does not run before it is resumed
    /// Called once, where there is an API: when the machine runs, or with why it could not be made.
    ControlledMachine::Done on_start = nullptr;
    /// As fork(2); may throw Error.
    std::function<pid_t()> fork;
    /// What the machine's process does, with the descriptor that KeeperMessages arrive on; answers its exit
    /// status.
    std::function<ExitStatus(int control_fd)> run;
};

/// Forks a process for the machine and stays until it has ended.
///
/// In the keeper: SIGTERM, SIGINT and SIGHUP press the machine's power button, a second one ends it; SIGWINCH
/// tells it that the terminal's size has changed. A
/// machine that is stuck, so that it does not end by itself `stop_timeout` after the first or at once after
/// the second, is killed five seconds later. The terminal is in raw mode meanwhile and restored on every way
/// out. In the child: what `run` returns (or the Error that it throws, which is printed) becomes the exit
/// status. A machine whose keeper dies ends by itself. Returns in the keeper only, with the exit status for
/// the user. The calling process has one thread. Throws Error (no_resources, or what `fork` throws).
ExitStatus keep_machine(const KeptMachine& kept);

/// Runs `body`, prints an Error or other exception that leaves it as one line on standard error, and returns
/// the exit status that follows.
ExitStatus report_errors(const std::function<ExitStatus()>& body);

}  // namespace hull
