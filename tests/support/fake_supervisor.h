// Supervisors without machines: they answer as real ones do, and end when the test says so.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <chrono>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/small_file.h"
#include "base/unique_fd.h"
#include "base/unix_address.h"
#include "container/supervisor/channel.h"
#include "container/supervisor/container_files.h"
#include "container/supervisor/guest_process.h"

namespace hull::test {

/// One run of a container. Its functions may be called by any thread.
class FakeSupervisor {
  public:
    /// What it does when its command gets a signal.
    enum class Obeys { every_signal, kill_only };

    FakeSupervisor(const container::ContainerFiles& files, Obeys obeys, int start_status)
        : files_{files}, obeys_{obeys}, start_status_{start_status} {
        unlink(files.socket().c_str());
        listener_ = UniqueFd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
        EXPECT_EQ(UnixAddress::at(files.socket())->bind(listener_.get()), 0);
        EXPECT_EQ(listen(listener_.get(), 16), 0);
        state_.supervisor = 1234;
        is_quiet_ = container::RunFile::read(files).is_quiet;
        write_state();
        thread_ = std::thread{[this] { serve(); }};
    }
    FakeSupervisor(const FakeSupervisor&) = delete;
    FakeSupervisor& operator=(const FakeSupervisor&) = delete;
    ~FakeSupervisor() {
        die();
        thread_.join();
    }

    std::atomic<bool> refuses_limits = false;

    /// The command ends, once it runs.
    void end(int status, bool is_out_of_memory = false) {
        std::unique_lock lock{mutex_};
        constexpr std::chrono::seconds kPatience{20};
        EXPECT_TRUE(changed_.wait_for(
            lock, kPatience, [this] { return state_.stage == container::RunState::Stage::running; }));
        end_now(status, is_out_of_memory, "");
    }
    /// As by SIGKILL: nothing is told or written.
    void die() {
        const std::lock_guard lock{mutex_};
        is_gone_ = true;
        signal_eventfd(stop_.get());
    }
    /// What it was asked to do, one word each ("signal 15").
    std::vector<std::string> asked() {
        const std::lock_guard lock{mutex_};
        return asked_;
    }
    std::vector<UniqueFd> clients() {
        const std::lock_guard lock{mutex_};
        return std::exchange(clients_, {});
    }
    /// A probe of its health has told that.
    void probe(container::Health::Status health, int status) {
        const std::lock_guard lock{mutex_};
        state_.health.emplace().status = health;
        for (container::Channel& watcher : watchers_) {
            watcher.send({{"is", "probe-begun"}});
            watcher.send({{"is", "probe-ended"}, {"status", status}});
        }
        tell_state();
        for (container::Channel& watcher : watchers_) {
            watcher.send({{"is", "health"}, {"status", state_.health->word()}});
        }
    }
    void end_exec(int number, int status) {
        const std::lock_guard lock{mutex_};
        execs_[number] = status;
        for (container::Channel& watcher : watchers_) {
            watcher.send({{"is", "exec-ended"}, {"number", number}, {"status", status}});
        }
    }

  private:
    void write_state() {
        if (!is_quiet_) {
            replace_file(files_.state(), state_.to_json());
        }
    }

    void tell_state() {
        write_state();
        for (container::Channel& watcher : watchers_) {
            watcher.send(state_message());
        }
    }
    boost::json::object state_message() const {
        return {{"is", "state"}, {"state", boost::json::parse(state_.to_json())}};
    }

    void end_now(int status, bool is_out_of_memory, const std::string& why) {
        state_.stage = container::RunState::Stage::ended;
        state_.exit_status = status;
        state_.is_out_of_memory = is_out_of_memory;
        state_.error = why;
        state_.finished = std::chrono::system_clock::now();
        tell_state();
        is_gone_ = true;
        signal_eventfd(stop_.get());
    }

    void serve() {
        std::list<container::Channel> channels;
        for (;;) {
            std::vector<pollfd> entries{{stop_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
            for (const container::Channel& channel : channels) {
                entries.push_back({channel.fd(), POLLIN, 0});
            }
            poll(entries.data(), entries.size(), -1);
            const std::lock_guard lock{mutex_};
            if (is_gone_) {
                listener_.reset();
                watchers_.clear();
                return;
            }
            if (entries[1].revents != 0) {
                channels.emplace_back(UniqueFd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)});
            }
            size_t index = 2;
            for (auto each = channels.begin(); each != channels.end() && index < entries.size(); ++index) {
                const auto channel = each++;
                if (entries[index].revents == 0) {
                    continue;
                }
                auto message = channel->receive();
                if (!message) {
                    channels.erase(channel);
                } else if (message->what.at("do") == "watch") {
                    boost::json::object state = state_message();
                    state["last_exec"] = execs_.empty() ? 0 : execs_.rbegin()->first;
                    channel->send(state);
                    watchers_.push_back(std::move(*channel));
                    channels.erase(channel);
                } else {
                    UniqueFd handed;
                    const boost::json::object answered = answer(*message, handed);
                    channel->send(answered, handed.get());
                }
            }
        }
    }

    boost::json::object answer(container::Channel::Message& message, UniqueFd& handed) {
        const std::string what{message.what.at("do").as_string()};
        std::string words = what;
        const boost::json::object done{{"is", "done"}};
        if (what == "start") {
            asked_.push_back(words);
            if (start_status_ != 0) {
                const std::string why = R"(exec: "nosuch": executable file not found in $PATH)";
                end_now(start_status_, false, why);
                return {{"is", "failed"}, {"why", why}, {"status", start_status_}};
            }
            state_.stage = container::RunState::Stage::running;
            state_.started = std::chrono::system_clock::now();
            tell_state();
            changed_.notify_all();
            return done;
        }
        if (what == "signal") {
            const int64_t number = message.what.at("value").to_number<int64_t>();
            asked_.push_back(what + " " + std::to_string(number));
            if (number == SIGKILL || obeys_ == Obeys::every_signal) {
                end_now(128 + static_cast<int>(number), false, "");
            }
            return done;
        }
        if (what == "end") {
            asked_.push_back(what);
            end_now(137, false, "");
            return done;
        }
        if (what == "contents") {
            asked_.push_back(what);
            std::array<int, 2> ends{};
            EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
            clients_.emplace_back(ends[0]);
            handed = UniqueFd{ends[1]};
            return {{"is", "contents"}};
        }
        if (what == "settle") {
            asked_.push_back(what);
            is_gone_ = true;
            signal_eventfd(stop_.get());
            return done;
        }
        if (what == "limit") {
            if (refuses_limits) {
                return {{"is", "failed"}, {"why", "its machine is too small"}, {"status", 128}};
            }
            for (const char* const limit : {"memory", "nano_cpus", "pids"}) {
                if (const boost::json::value* const value = message.what.if_contains(limit)) {
                    words += " ";
                    words += value->is_string() ? std::string{value->get_string()}
                                                : std::to_string(value->to_number<uint64_t>());
                }
            }
        }
        if (what == "freeze") {
            state_.is_paused = message.what.at("on").as_bool();
            tell_state();
        }
        if (what == "attach" || what == "exec") {
            if (message.descriptor.valid()) {
                clients_.push_back(std::move(message.descriptor));
            }
            if (what == "exec") {
                const boost::json::object& exec = message.what.at("exec").as_object();
                words += " " + std::string{exec.at("command").as_array().at(0).as_string()};
                if (words == "exec nosuch") {
                    clients_.clear();
                    return {{"is", "failed"}, {"why", "exec: \"nosuch\": not found"}, {"status", 127}};
                }
                execs_[message.what.at("number").to_number<int>()] = std::nullopt;
            }
        }
        asked_.push_back(words);
        if (what == "state-of-exec") {
            const std::optional<int> status = execs_.at(message.what.at("number").to_number<int>());
            return {{"is", "exec"}, {"running", !status.has_value()}, {"status", status.value_or(0)}};
        }
        if (what == "group") {
            return {{"is", "group"}, {"files", {{"pids.current", "3\n"}}}};
        }
        if (what == "processes") {
            return container::ProcessList{
                .memory = 1000,
                .all =
                    {{.pid = 7, .terminal = "pts/0", .state = "Ss", .name = "sh", .command_line = "sh -c x"}}}
                .to_json();
        }
        return done;
    }

    const container::ContainerFiles files_;
    const Obeys obeys_;
    const int start_status_;
    UniqueFd listener_;
    UniqueFd stop_ = make_eventfd();
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_gone_ = false;
    bool is_quiet_ = false;
    container::RunState state_;
    std::vector<container::Channel> watchers_;
    std::vector<std::string> asked_;
    std::vector<UniqueFd> clients_;
    std::map<int, std::optional<int>> execs_;
    std::thread thread_;
};

/// Starts them, and keeps all that were started, the last one last.
class FakeSupervisors {
  public:
    FakeSupervisor::Obeys obeys = FakeSupervisor::Obeys::every_signal;
    int start_status = 0;  ///< above 0: the command cannot be run

    void start(const container::ContainerFiles& files) {
        const std::lock_guard lock{mutex_};
        last_run_ = container::RunFile::read(files);
        all_.push_back(std::make_unique<FakeSupervisor>(files, obeys, start_status));
        changed_.notify_all();
    }
    /// Waits until so many were started, and answers the last of them.
    FakeSupervisor& wait_for(size_t number) {
        std::unique_lock lock{mutex_};
        constexpr std::chrono::seconds kPatience{20};
        EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return all_.size() >= number; }))
            << all_.size() << " of " << number;
        return *all_.at(number - 1);
    }
    size_t count() {
        const std::lock_guard lock{mutex_};
        return all_.size();
    }
    container::RunFile last_run() {
        const std::lock_guard lock{mutex_};
        return last_run_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::unique_ptr<FakeSupervisor>> all_;
    container::RunFile last_run_;
};

}  // namespace hull::test
