#include "vmm/main/keeper.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/unique_fd.h"
#include "vmm/api/machine_api.h"
#include "vmm/machine/keeper_message.h"
#include "vmm/main/helper_process.h"
#include "vmm/main/new_file.h"

namespace hull {

namespace {

/// How long a machine may take from when it should have ended to when it is killed.
constexpr std::chrono::milliseconds kStopGrace{5000};

/// The keeper's side while the machine runs.
class Keeper final : public ControlledMachine {
  public:
    Keeper(pid_t machine, const KeptMachine& kept, UniqueFd control, UniqueFd signals)
        : machine_{machine},
          stop_timeout_{kept.stop_timeout},
          broker_{kept.broker},
          config_{kept.config},
          loop_{kept.loop},
          control_{std::move(control)},
          signals_{std::move(signals)},
          pidfd_{open_pidfd(machine)} {
        if (kept.api != nullptr) {
            is_paused_ = kept.is_paused;
            loop_.watch(control_.get(), [this] { take_answer(); });
            kept.api->set_handler([this](const HttpRequest& request, const HttpServer::Reply& reply) {
                api_.handle(request, reply);
            });
            if (kept.on_start) {
                // What it is already it becomes at once; but it answers only when it is there.
                ask(is_paused_ ? KeeperMessage::pause : KeeperMessage::resume, {}, kept.on_start);
            }
        }
    }

    ExitStatus run() {
        loop_.watch(signals_.get(), [this] { take_signal(); });
        loop_.watch(pidfd_.get(), [this] { loop_.stop(); });
        broker_.serve(loop_);
        loop_.run();
        for (const Done& done : std::exchange(asked_, {})) {
            done("the machine has ended");
        }
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

    [[nodiscard]] const MachineConfig& config() const override { return config_; }
    [[nodiscard]] bool is_paused() const override { return is_paused_; }
    void pause(Done done) override {
        ask(KeeperMessage::pause, {}, [this, done](const std::string& why_not) {
            is_paused_ = is_paused_ || why_not.empty();
            done(why_not);
        });
    }
    void resume(Done done) override {
        ask(KeeperMessage::resume, {}, [this, done](const std::string& why_not) {
            is_paused_ = is_paused_ && !why_not.empty();
            done(why_not);
        });
    }
    void save(const SnapshotFiles& files, Done done) override {
        try {
            auto state = std::make_shared<NewFile>(files.state);
            auto memory = std::make_shared<NewFile>(files.memory);
            const std::vector<int> descriptors{state->fd(), memory->fd()};
            ask(KeeperMessage::save, descriptors,
                [state = std::move(state), memory = std::move(memory),
                 done](const std::string& why_not) mutable {
                    const std::string result = why_not.empty() ? commit(*memory, *state) : why_not;
                    state.reset();  // what was given up is gone before that is told
                    memory.reset();
                    done(result);
                });
        } catch (const Error& error) {
            done(error.what());
        }
    }
    void press_power_button() override { stop(); }

  private:
    /// The state last: without it there is no snapshot.
    static std::string commit(NewFile& memory, NewFile& state) {
        try {
            memory.commit();
            state.commit();
            return "";
        } catch (const Error& error) {
            return error.what();
        }
    }

    void ask(KeeperMessage message, const std::vector<int>& descriptors, Done done) {
        if (send_request(control_.get(), message, descriptors)) {
            asked_.push_back(std::move(done));
        } else {
            done("the machine takes no more requests");
        }
    }
    void take_answer() {
        const std::optional<std::string> why_not = receive_answer(control_.get());
        if (!why_not) {
            loop_.forget(control_.get());
        } else if (!asked_.empty()) {  // it may be hostile, and answer what nobody has asked
            const Done done = std::move(asked_.front());
            asked_.pop_front();
            done(*why_not);
        }
    }

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
            stop();
        } else {
            send(KeeperMessage::stop_now);
            if (signals_taken_ == 1) {  // further ones must not put the end off
                kill_after(kStopGrace);
            }
        }
        ++signals_taken_;
    }

    void stop() {
        is_paused_ = false;  // it resumes for it
        send(KeeperMessage::press_power_button);
        kill_after(stop_timeout_ + kStopGrace);
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
        static_cast<void>(send_request(control_.get(), message));
    }

    pid_t machine_;
    std::chrono::milliseconds stop_timeout_;
    jail::Broker& broker_;
    const MachineConfig& config_;
    EventLoop& loop_;
    UniqueFd control_;
    UniqueFd signals_;
    UniqueFd pidfd_;
    unsigned signals_taken_ = 0;
    bool killed_ = false;
    bool is_paused_ = false;
    std::deque<Done> asked_;  // in the order in which the machine answers
    MachineApi api_{*this};
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
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
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
