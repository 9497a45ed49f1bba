// A machine in the test's own process, with a real kernel at whose shell the test types.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/way.h"
#include "vmm/machine/device_files.h"
#include "vmm/machine/machine.h"

namespace hull::test {

/// Made, run and destroyed by one thread, without any other in the process.
class OwnMachine {
  public:
    explicit OwnMachine(const Way& way, std::vector<DiskConfig> disks = {}) {
        signal(SIGPIPE, SIG_IGN);
        std::array<int, 2> ends{};
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
            throw std::runtime_error{"socketpair"};
        }
        keepers_end_ = UniqueFd{ends[0]};
        machines_end_ = UniqueFd{ends[1]};
        MachineConfig config;
        config.kernel = guest_file(way.kernel);
        config.initramfs = {guest_file(way.initramfs)};
        config.memory = uint64_t{256} << 20;
        config.platform = parse_platform(way.platform);
        config.bus = parse_bus(way.bus);
        config.disks = std::move(disks);
        MachineFiles files;
        files.kvm = open_kvm();
        files.kernel = open_input_file(config.kernel, "kernel");
        files.initramfs.push_back(open_input_file(config.initramfs.front(), "initramfs"));
        for (size_t number = 0; number < config.disks.size(); ++number) {
            files.disks.push_back(open_disk(config.disks[number], config.disks[number].name(number)));
        }
        files.console_output = std::move(output_.write_end);
        files.console_input = std::move(input_.read_end);
        machine_.emplace(config, std::move(files), timeline_);
    }

    [[nodiscard]] Machine& machine() { return *machine_; }

    /// Runs the machine, and `script` beside it on another thread, from when the guest's shell is there. What
    /// still runs behind the script's end is told to power off. How the machine ended.
    ExitStatus run(const std::function<void()>& script) {
        std::thread beside{[&] {
            if (wait_for("hull#")) {
                script();
            } else {
                ADD_FAILURE() << "the guest does not come up: " << printed_;
            }
            // Without a sync, which waits for disks that are gone.
            write_all(input_.write_end.get(), "poweroff -f -n\n");
            // Its end closes the console.
            if (!wait_for("")) {
                ADD_FAILURE() << "the guest does not power off: " << printed_;
            }
            write_all(keepers_end_.get(), std::string(1, static_cast<char>(KeeperMessage::stop_now)));
        }};
        const ExitStatus status = machine_->run(machines_end_.get());
        machine_.reset();
        beside.join();
        return status;
    }

    /// Types a command of one line; what it prints, with \r\n at the ends of lines. Fails the test where it
    /// does not end.
    std::string ask(const std::string& command) {
        const std::string number = std::to_string(++asked_);
        // What is typed is echoed, so the marks are not in it.
        write_all(input_.write_end.get(),
                  "echo from-$((" + number + ")); " + command + "; echo to-$((" + number + "))\n");
        const bool begun = wait_for("from-" + number + "\r\n");
        const size_t from = read_;
        const std::string last = "to-" + number + "\r\n";
        if (!begun || !wait_for(last)) {
            ADD_FAILURE() << "the guest does not answer to: " << command << "\n" << printed_;
            return {};
        }
        return printed_.substr(from, read_ - last.size() - from);
    }

  private:
    /// Reads until `text` has come; where it is empty, until the end.
    bool wait_for(const std::string& text) {
        while (!silent_) {
            if (const size_t at = printed_.find(text, read_); !text.empty() && at != std::string::npos) {
                read_ = at + text.size();
                return true;
            }
            pollfd entry{output_.read_end.get(), POLLIN, 0};
            if (poll(&entry, 1,
                     static_cast<int>(std::chrono::milliseconds{HullProcess::kPatience}.count())) != 1) {
                return false;
            }
            std::array<char, 4096> part{};
            const ssize_t got = read(output_.read_end.get(), part.data(), part.size());
            if (got <= 0) {
                silent_ = true;
                return text.empty();
            }
            printed_.append(part.data(), static_cast<size_t>(got));
        }
        return false;
    }

    UniqueFd keepers_end_;
    UniqueFd machines_end_;
    Pipe output_ = make_pipe();
    Pipe input_ = make_pipe();
    std::string printed_;
    size_t read_ = 0;
    bool silent_ = false;  // has ended, or does not answer any more
    int asked_ = 100;
    Timeline timeline_;
    std::optional<Machine> machine_;
};

}  // namespace hull::test
