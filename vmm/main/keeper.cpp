#include "vmm/main/keeper.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/unique_fd.h"
#include "vmm/machine/machine.h"
#include "vmm/main/helper_process.h"

namespace hull {

namespace {

/// How long a machine may take from when it should have ended to when it is killed.
constexpr std::chrono::milliseconds kStopGrace{5000};

/// The keeper's side while the machine runs.
class Keeper {
  public:
    Keeper(pid_t machine, const KeptMachine& kept, UniqueFd control, UniqueFd signals)
        : machine_{machine},
          stop_timeout_{kept.stop_timeout},
          broker_{kept.broker},
          control_{std::move(control)},
          signals_{std::move(signals)},
          pidfd_{open_pidfd(machine)} {}

    ExitStatus run() {
        loop_.watch(signals_.get(), [this] { take_signal(); });
        loop_.watch(pidfd_.get(), [this] { loop_.stop(); });
        broker_.serve(loop_);
        loop_.run();
        int status = 0;
        while (waitpid(machine_, &status, 0) < 0 && errno == EINTR) {
        }
        if (WIFEXITED(status)) {
            return static_cast<ExitStatus>(WEXITSTATUS(status));
        }
        if (killed_) {
            return ExitStatus::forced_stop;
        }
        if (WTERMSIG(status) == SIGSYS) {
            log_warning(
                "the machine's process was ended by its jail: it made a system call that it may not make");
            return ExitStatus::machine_died;
        }
        log_warning("the machine's process was ended by signal " + std::to_string(WTERMSIG(status)) + " (" +
                    strsignal(WTERMSIG(status)) + ")");
        return ExitStatus::machine_died;
    }

  private:
    void take_signal() {
        signalfd_siginfo info{};
        if (read(signals_.get(), &info, sizeof info) != sizeof info) {
            return;
        }
        if (info.ssi_signo == SIGWINCH) {
            send(KeeperMessage::terminal_resized);
            return;
        }
        if (signals_taken_ == 0) {
            send(KeeperMessage::press_power_button);
            kill_after(stop_timeout_ + kStopGrace);
        } else {
            send(KeeperMessage::stop_now);
            if (signals_taken_ == 1) {  // further ones must not put the end off
                kill_after(kStopGrace);
            }
        }
        ++signals_taken_;
    }

    /// For a machine that is stuck; one that is not ends by itself before that.
    void kill_after(std::chrono::milliseconds delay) {
        loop_.set_deadline(delay, [this] {
            killed_ = true;
            syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
        });
    }

    void send(KeeperMessage message) {
        // Fails where the machine has just ended, which the loop is told of by itself.
        [[maybe_unused]] const ssize_t sent =
            ::send(control_.get(), &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }

    pid_t machine_;
    std::chrono::milliseconds stop_timeout_;
    jail::Broker& broker_;
    UniqueFd control_;
    UniqueFd signals_;
    UniqueFd pidfd_;
    EventLoop loop_;
    unsigned signals_taken_ = 0;
    bool killed_ = false;
};

}  // namespace

ExitStatus report_errors(const std::function<ExitStatus()>& body) {
    // Written straight to standard error: the log's form is for a running machine's messages.
    const auto print = [](std::string line) {
        line = "hull: " + line + "\n";
        [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    };
    try {
        return body();
    } catch (const Error& error) {
        print(error.what());
        return error.status();
    } catch (const std::bad_alloc&) {
        print("cannot go on: out of memory; give the host or its limits more (ulimit -v)");
        return ExitStatus::no_resources;
    } catch (const std::exception& error) {
        print(std::string{"a defect in hull: "} + error.what() + "; please report it");
        return ExitStatus::internal_failure;
    }
}

ExitStatus keep_machine(const KeptMachine& kept) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a socket pair", errno_text(errno)};
    }
    UniqueFd keepers_end{ends[0]};
    UniqueFd machines_end{ends[1]};

    // Blocked before the fork: a signal that comes while the machine is being made waits for the keeper to
    // take it, and the machine, in the same process group, is not touched by what a terminal sends to all.
    UniqueFd signal_fd = catch_signals({SIGTERM, SIGINT, SIGHUP, SIGWINCH});
    signal(SIGPIPE, SIG_IGN);
    kept.terminal.enter();
    try {
        const pid_t pid = kept.fork();
        if (pid < 0) {
            throw Error{ExitStatus::no_resources, "cannot start the machine's process", errno_text(errno),
                        "raise the limit of processes (ulimit -u)"};
        }
        if (pid == 0) {
            keepers_end.reset();
            signal_fd.reset();
            // _exit: what the keeper set up is the keeper's to tear down.
            _exit(static_cast<int>(report_errors([&] { return kept.run(machines_end.get()); })));
        }
        machines_end.reset();
        const ExitStatus status = Keeper{pid, kept, std::move(keepers_end), std::move(signal_fd)}.run();
        kept.terminal.restore();
        return status;
    } catch (...) {
        kept.terminal.restore();
        throw;
    }
}

}  // namespace hull
