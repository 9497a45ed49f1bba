// A command of the shell's that a test runs to its end.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace hull::test {

struct Ran {
    int status = -1;
    std::string out;  ///< and what was said of errors
};

inline Ran run_command(const std::string& command) {
    std::FILE* const pipe = popen((command + " 2>&1").c_str(), "re");
    std::string out;
    std::array<char, 4096> part{};
    while (const size_t got = std::fread(part.data(), 1, part.size(), pipe)) {
        out.append(part.data(), got);
    }
    return {WEXITSTATUS(pclose(pipe)), out};
}

}  // namespace hull::test
