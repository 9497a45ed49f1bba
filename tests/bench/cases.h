// What hull_boot_bench and hull_io_bench have in common: commands given as cases, run in turn, and their
// figures.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

namespace hull::bench {

/// One line, and out.
[[noreturn]] inline void fail(const std::string& why) {
    std::cerr << program_invocation_short_name << ": " << why << "\n";
    std::exit(1);
}

/// Reads `[--OPTION VALUE]… --case NAME COMMAND… [--case NAME COMMAND…]…`. A Case has `name` and `command`.
template <typename Case>
std::vector<Case> parse_cases(int argc, char** argv,
                              const std::map<std::string, std::function<void(const std::string&)>>& options) {
    std::vector<Case> cases;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const auto value = [&]() -> std::string {
            return ++i < argc ? argv[i] : (fail(word + " needs a value"), "");
        };
        if (word == "--case") {
            cases.emplace_back().name = value();
        } else if (!cases.empty()) {
            cases.back().command.push_back(word);
        } else if (const auto option = options.find(word); option != options.end()) {
            option->second(value());
        } else {
            fail("unknown word " + word);
        }
    }
    return cases;
}

/// A command that has been started.
struct Child {
    pid_t process;
    int output;  ///< to read from; close it
};

/// Starts a command as the leader of a process group, with nothing to read and its errors going to `errors`,
/// or where its output goes if that is -1. It ends with whoever started it.
inline Child start(std::vector<std::string> command, int errors = -1) {
    int output[2];
    if (pipe2(output, O_CLOEXEC) != 0) {
        fail("no pipe");
    }
    const pid_t process = fork();
    if (process != 0) {
        close(output[1]);
        return {process, output[0]};
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    dup2(output[1], 1);
    dup2(errors < 0 ? output[1] : errors, 2);
    std::vector<char*> words;
    for (std::string& word : command) {
        words.push_back(word.data());
    }
    words.push_back(nullptr);
    execvp(words[0], words.data());
    _exit(127);
}

/// The end of what a command said, for a message.
inline std::string last_words(const std::string& text) {
    constexpr size_t kMost = 2000;
    return text.size() > kMost ? text.substr(text.size() - kMost) : text;
}

inline double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values.empty() ? 0 : values[values.size() / 2];
}

/// Appends a line to a file, where one was named.
inline void append_line(const std::string& file, const std::string& line) {
    if (!file.empty()) {
        std::ofstream{file, std::ios::app} << line << "\n";
    }
}

}  // namespace hull::bench
