#include "container/machine/container_session.h"

#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"

namespace hull::container {

namespace {

constexpr int kContainerFailed = 125;

constexpr uint32_t kCommand = ContainerGuest::kCommand;

}  // namespace

ContainerSession::ContainerSession(const ContainerConfig& config, Files files)
    : config_{config},
      is_up_{std::move(files.is_up)},
      client_{loop_,
              std::move(files.listener),
              {.hello = [this] { start(); },
               .failed = [this](uint32_t number, int error,
                                const std::string& what) { take_failure(number, error, what); },
               .exited =
                   [this](uint32_t number, CommandEnd end) {
                       if (number == kCommand) {
                           take_end(end);
                       }
                   },
               .connected =
                   [this](agent::Type kind, uint32_t number, UniqueFd connection) {
                       streams_.take(kind, number, connection);  // or nobody has asked for it
                   },
               .lost = [this](const std::string& why) { fail(why); }}},
      guest_{config, files.layers, client_},
      streams_{loop_,
               client_,
               {.command = kCommand, .tty = config.tty, .has_input = config.has_input, .has_escape = false},
               {.signalled = [this](int number) { take_signal(number); },
                .all_came =
                    [this] {
                        if (has_ended_) {
                            finish(status_);
                        }
                    },
                .quit = {}}},
      machine_{loop_, std::move(files.console), files.pidfd, [this] { take_machines_end(); }} {}

int ContainerSession::run() {
    loop_.run();
    if (!failure_.empty()) {
        machine_.fail(ExitStatus::internal_failure, "cannot go on with the container", failure_);
    }
    return status_;
}

void ContainerSession::start() {
    is_up_();
    if (const std::string too_large = guest_.prepare(); !too_large.empty()) {
        fail(too_large);
        return;
    }
    if (!guest_.run_command([this](agent::FrameWriter& frame) { streams_.add_terminal(frame); })) {
        fail("the command's arguments and variables are more than " +
             std::to_string(agent::kMostRequest >> 10) + " KiB together");
        return;
    }
    is_running_ = true;
    streams_.expect();
}

void ContainerSession::take_failure(uint32_t number, int error, const std::string& what) {
    if (number == kCommand && is_running_) {
        if (what == agent::kToRunIt) {
            std::fprintf(stderr, "hull: cannot run '%s' in the container: %s\n",
                         config_.command.front().c_str(), errno_text(error).c_str());
            finish(error == ENOENT ? kNotFound : kNotExecutable);
        } else {
            fail("the agent fails " + what + ": " + errno_text(error));
        }
    } else if (const std::string why = guest_.what_failed(number, error, what); !why.empty()) {
        fail(why);
    }
}

void ContainerSession::take_end(CommandEnd end) {
    if (!is_running_ || has_ended_) {
        return;
    }
    has_ended_ = true;
    status_ = end.status();
    if (streams_.have_all_come()) {
        finish(status_);
    }
}

void ContainerSession::take_signal(int number) {
    // The third is no longer the command's to obey, as with docker's client.
    constexpr unsigned kPatience = 3;
    const bool ends = number == SIGTERM || number == SIGINT || number == SIGQUIT;
    if (!is_running_ ? number != SIGUSR1 && number != SIGUSR2 : ends && ++asked_to_end_ == kPatience) {
        finish(kBySignal + number);
    } else {
        streams_.send_signal(number);
    }
}

void ContainerSession::take_machines_end() {
    if (machine_.could_not_start()) {
        finish(kContainerFailed);  // it has said why
    } else {
        fail("the guest has ended by itself");
    }
}

void ContainerSession::finish(int status) {
    if (!std::exchange(is_done_, true)) {
        status_ = status;
        loop_.stop();
    }
}

void ContainerSession::fail(const std::string& why) {
    if (!is_done_) {
        failure_ = why;
        finish(0);
    }
}

}  // namespace hull::container
