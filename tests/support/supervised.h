// A container's supervisor, started and asked as the daemon does.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/small_file.h"
#include "base/unique_fd.h"
#include "base/unix_address.h"
#include "container/supervisor/channel.h"
#include "container/supervisor/container_files.h"
#include "tests/support/files.h"

namespace hull::test {

/// One run of the container in a folder. Kills the supervisor when destroyed.
class Supervised {
  public:
    static constexpr std::chrono::seconds kPatience{120};

    Supervised(const std::filesystem::path& supervisor, container::ContainerFiles files,
               const container::RunFile& run)
        : files_{std::move(files)} {
        run.write(files_);
        start(supervisor);
    }
    Supervised(const Supervised&) = delete;
    Supervised& operator=(const Supervised&) = delete;
    ~Supervised() {
        if (pid_ > 0) {
            kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
        }
    }

    [[nodiscard]] pid_t pid() const { return pid_; }

    /// The answer; empty where there is none.
    boost::json::object ask(const boost::json::object& question, int descriptor = -1) const {
        container::Channel channel = container::Channel::connect(files_.socket());
        if (!channel.valid() || !channel.send(question, descriptor)) {
            return {};
        }
        return next(channel);
    }
    /// What comes next over a connection; empty where it has ended, or nothing comes.
    static boost::json::object next(container::Channel& channel) {
        pollfd entry{channel.fd(), POLLIN, 0};
        if (poll(&entry, 1, std::chrono::milliseconds{kPatience}.count()) != 1) {
            return {};
        }
        auto message = channel.receive();
        return message ? message->what : boost::json::object{};
    }
    /// What an answer is: "done".
    static std::string kind(const boost::json::object& answer) {
        const auto* const is = answer.if_contains("is");
        return is == nullptr ? "nothing" : std::string{is->as_string()};
    }
    std::string start() const { return kind(ask({{"do", "start"}})); }

    /// A client of the command's, with input. `more` says what else is asked: of an exec, for example.
    UniqueFd attach(boost::json::object more = {}, boost::json::object* answer = nullptr) const {
        std::array<int, 2> ends{};
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
            throw std::runtime_error{"socketpair"};
        }
        UniqueFd ours{ends[0]};
        const UniqueFd theirs{ends[1]};
        for (const auto& [key, value] :
             boost::json::object{{"do", "attach"}, {"input", true}, {"output", true}, {"errors", true}}) {
            if (!more.contains(key)) {
                more[key] = value;
            }
        }
        const boost::json::object answered = ask(more, theirs.get());
        if (answer != nullptr) {
            *answer = answered;
        }
        return ours;
    }

    /// How it ended; as it was made where it did not in kPatience.
    container::RunState wait() { return wait_for_end() ? state() : container::RunState{}; }
    /// False where it does not end in kPatience.
    bool wait_for_end() {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        int status = 0;
        while (waitpid(pid_, &status, WNOHANG) == 0) {
            if (std::chrono::steady_clock::now() > end) {
                return false;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
        pid_ = -1;
        exit_status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        return true;
    }
    [[nodiscard]] int exit_status() const { return exit_status_; }
    [[nodiscard]] container::RunState state() const {
        return container::RunState::from_json(file_text(files_.state()));
    }

  private:
    void start(const std::filesystem::path& supervisor) {
        unlink(files_.socket().c_str());
        const UniqueFd listener{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
        if (UnixAddress::at(files_.socket()).value().bind(listener.get()) != 0 ||
            listen(listener.get(), 100) != 0) {
            throw std::runtime_error{"listen"};
        }
        pid_ = fork();
        if (pid_ == 0) {
            setsid();
            const int spare = fcntl(listener.get(), F_DUPFD, 10);
            dup2(spare, 3);
            close_range(4, ~0U, 0);
            execl(supervisor.c_str(), "hull-supervisor", files_.folder.c_str(), nullptr);
            _exit(99);
        }
    }

    container::ContainerFiles files_;
    pid_t pid_ = -1;
    int exit_status_ = -1;
};

/// What comes in frames, the streams together, until the end or until `text` has come: "1:out 2:err".
inline std::string framed(int fd, std::string_view text = {}) {
    constexpr int kPatienceMs = 120'000;
    std::string all;
    char last = '0';
    while (text.empty() || all.find(text) == std::string::npos) {
        const std::string header = read_up_to(fd, 8, kPatienceMs);
        if (header.size() < 8) {
            break;
        }
        size_t size = 0;
        for (size_t index = 4; index < 8; ++index) {
            size = size << 8 | static_cast<unsigned char>(header[index]);
        }
        if (std::exchange(last, static_cast<char>('0' + header[0])) != '0' + header[0]) {
            all += std::string{last} + ":";
        }
        all += read_up_to(fd, size, kPatienceMs);
    }
    return all;
}

}  // namespace hull::test
