#include "tests/support/hull_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace hull::test {

namespace {

using Clock = std::chrono::steady_clock;

std::string binary() {
    const char* given = std::getenv("HULL_TEST_BINARY");
    return given != nullptr ? given : HULL_SOURCE_DIR "/build/release/hull";
}

struct Pipe {
    Pipe() {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) {
            throw std::runtime_error{"no pipe"};
        }
        reader = UniqueFd{ends[0]};
        writer = UniqueFd{ends[1]};
    }
    UniqueFd reader;
    UniqueFd writer;
};

[[noreturn]] void become(std::vector<std::string>& words, int input, int output, int error) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
}

}  // namespace

HullProcess::HullProcess(std::vector<std::string> arguments, Input input) {
    arguments.insert(arguments.begin(), binary());
    Pipe error;
    Pipe in;
    Pipe out;
    UniqueFd child_in = std::move(in.reader);
    UniqueFd child_out = std::move(out.writer);
    input_ = std::move(in.writer);
    output_ = std::move(out.reader);
    if (input == Input::terminal) {
        int master = -1;
        int slave = -1;
        const winsize size{
            .ws_row = kTerminalRows, .ws_col = kTerminalColumns, .ws_xpixel = 0, .ws_ypixel = 0};
        if (openpty(&master, &slave, nullptr, nullptr, &size) != 0) {
            throw std::runtime_error{"no pseudo-terminal"};
        }
        fcntl(master, F_SETFD, FD_CLOEXEC);
        input_ = UniqueFd{master};
        output_ = UniqueFd{fcntl(master, F_DUPFD_CLOEXEC, 0)};
        child_in = UniqueFd{slave};
        terminal_ = UniqueFd{fcntl(slave, F_DUPFD_CLOEXEC, 0)};
        child_out = UniqueFd{fcntl(slave, F_DUPFD_CLOEXEC, 0)};
    } else if (input == Input::nothing) {
        child_in = UniqueFd{open("/dev/null", O_RDONLY | O_CLOEXEC)};
        input_.reset();
    }
    pid_ = fork();
    if (pid_ == 0) {
        become(arguments, child_in.get(), child_out.get(), error.writer.get());
    }
    error_ = std::move(error.reader);
}

HullProcess::~HullProcess() {
    if (!ended_) {
        kill(pid_, SIGKILL);  // the machine ends when its keeper is gone
        waitpid(pid_, nullptr, 0);
    }
    // What a guest does in a test is ordinary use: no list of the jail's may be too short for it.
    EXPECT_TRUE(may_be_refused_ || err_.find("the jail refuses") == std::string::npos) << err_;
}

bool HullProcess::read_some(std::chrono::milliseconds patience) {
    pollfd entries[] = {{output_.get(), POLLIN, 0}, {error_.get(), POLLIN, 0}};
    if (poll(entries, 2, static_cast<int>(patience.count())) <= 0) {
        return false;
    }
    char chunk[4096];
    bool got_any = false;
    for (const pollfd& entry : entries) {
        if (entry.revents == 0) {
            continue;
        }
        const ssize_t got = read(entry.fd, chunk, sizeof chunk);
        if (got > 0) {
            (entry.fd == error_.get() ? err_ : out_).append(chunk, static_cast<size_t>(got));
            got_any = true;
        } else {
            (entry.fd == error_.get() ? error_ : output_)
                .reset();  // poll() passes over a negative descriptor
            got_any = got_any || error_.valid() || output_.valid();
        }
    }
    return got_any;
}

testing::AssertionResult HullProcess::wait_for(const std::string& text) {
    while (out_.find(text) == std::string::npos) {
        if (!output_.valid() || !read_some(kPatience)) {
            const bool silent = output_.valid();
            return testing::AssertionFailure()
                   << "no '" << text << "' from hull, which "
                   << (silent ? std::string{"went silent"} : "ended with status " + std::to_string(wait()))
                   << "; its output:\n"
                   << out_ << "\nits standard error:\n"
                   << err_;
        }
    }
    return testing::AssertionSuccess();
}

bool HullProcess::read_for(std::chrono::milliseconds time) {
    const auto end = Clock::now() + time;
    while (Clock::now() < end && (output_.valid() || error_.valid())) {
        read_some(std::chrono::milliseconds{50});
    }
    return output_.valid() || error_.valid();
}

void HullProcess::type(const std::string& text) {
    size_t done = 0;
    while (done < text.size()) {
        const ssize_t written = write(input_.get(), text.data() + done, text.size() - done);
        if (written <= 0) {
            return;
        }
        done += static_cast<size_t>(written);
    }
}

void HullProcess::make_output_narrow() {
    EXPECT_GT(fcntl(output_.get(), F_SETPIPE_SZ, 4096), 0) << strerror(errno);
}

bool HullProcess::has_ended() {
    int status = 0;
    if (!ended_ && waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = true;
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }
    return ended_;
}

void HullProcess::tell_where_it_is_stuck() {
    for (const pid_t process : {keeper(), machine()}) {
        std::error_code gone;
        const std::string tasks = "/proc/" + std::to_string(process) + "/task";
        for (const auto& task : std::filesystem::directory_iterator{tasks, gone}) {
            std::stringstream text;
            text << "\nstuck: " << std::ifstream{task.path() / "comm"}.rdbuf()
                 << std::ifstream{task.path() / "syscall"}.rdbuf()
                 << std::ifstream{task.path() / "stack"}.rdbuf();
            err_ += text.str();
        }
    }
}

int HullProcess::reap() {
    const auto deadline = Clock::now() + kPatience;
    while (!has_ended() && Clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    if (!ended_) {
        tell_where_it_is_stuck();
    }
    return status_;
}

int HullProcess::wait() {
    // A terminal has no end while this end of it is open: what is there once hull has ended is all.
    const auto deadline = Clock::now() + kPatience;
    while (!has_ended() && Clock::now() < deadline) {
        read_some(std::chrono::milliseconds{50});
    }
    while ((output_.valid() || error_.valid()) && read_some(std::chrono::milliseconds{0})) {
    }
    if (!ended_) {
        tell_where_it_is_stuck();
    }
    return status_;
}

int HullProcess::wait_unread() {
    const int status = reap();
    while (error_.valid() && read_some(std::chrono::milliseconds{0})) {
    }
    return status;
}

std::vector<pid_t> HullProcess::children(bool are_helpers) const {
    const std::string keeper = std::to_string(pid_);
    std::ifstream all{"/proc/" + keeper + "/task/" + keeper + "/children"};
    std::vector<pid_t> result;
    for (pid_t child = 0; all >> child;) {
        std::error_code gone;
        const std::string program = "/proc/" + std::to_string(child) + "/exe";
        if (std::filesystem::equivalent(program, "/proc/" + keeper + "/exe", gone) != are_helpers && !gone) {
            result.push_back(child);
        }
    }
    return result;
}

pid_t HullProcess::machine() const {
    const auto deadline = Clock::now() + kPatience;
    while (Clock::now() < deadline) {
        if (const auto machines = children(false); !machines.empty()) {
            return machines.front();
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    return -1;
}

std::string guest_file(const std::string& name) {
    const auto variable = [](const char* key) {
        const char* value = std::getenv(key);
        return std::string{value == nullptr ? "" : value};
    };
    std::string cache = variable("HULL_CACHE");
    if (cache.empty()) {
        const std::string xdg = variable("XDG_CACHE_HOME");
        cache = (xdg.empty() ? variable("HOME") + "/.cache" : xdg) + "/hull";
    }
    return cache + "/guest/" + name;
}

}  // namespace hull::test
