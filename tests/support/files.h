// Files, pipes and terminals that tests need for a moment.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/unique_fd.h"

namespace hull::test {

/// An empty folder, removed with all that is in it.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = std::filesystem::temp_directory_path() / "hull-test-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error{"mkdtemp"};
        }
        path_ = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Writes a file in the folder, making the folders above it; returns its path.
    std::filesystem::path file(const std::filesystem::path& name, std::string_view text) const {
        const std::filesystem::path whole = path_ / name;
        std::filesystem::create_directories(whole.parent_path());
        std::ofstream{whole, std::ios::binary} << text;
        return whole;
    }

  private:
    std::filesystem::path path_;
};

/// All of a file; nothing where it cannot be read.
inline std::string contents_of(const std::filesystem::path& path) {
    // In one piece: by iterators, 16 MiB take seconds where nothing is optimized.
    std::ostringstream contents;
    contents << std::ifstream{path, std::ios::binary}.rdbuf();
    return std::move(contents).str();
}

struct Pipe {
    UniqueFd read_end;
    UniqueFd write_end;
};

inline Pipe make_pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw std::runtime_error{"pipe2"};
    }
    return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

/// A terminal: what a person types goes into `person`, programs have `program` as their terminal.
struct Terminal {
    UniqueFd person;
    UniqueFd program;
};

inline Terminal make_terminal() {
    int person = -1;
    int program = -1;
    if (openpty(&person, &program, nullptr, nullptr, nullptr) != 0) {
        throw std::runtime_error{"openpty"};
    }
    return {UniqueFd{person}, UniqueFd{program}};
}

inline void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(fd, text.data(), text.size());
        if (written <= 0 && errno != EINTR) {
            throw std::runtime_error{"write"};
        }
        text.remove_prefix(static_cast<size_t>(written > 0 ? written : 0));
    }
}

/// How many names a folder has: "/proc/self/fd".
inline size_t entries_of(const char* folder) {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator{folder}, std::filesystem::directory_iterator{}));
}

/// How many threads this process has, once they are no more than `most` or some seconds have passed: one that
/// was waited for may still be listed.
inline size_t threads_down_to(size_t most) {
    size_t count = entries_of("/proc/self/task");
    for (int tries = 0; tries < 500 && count > most; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
        count = entries_of("/proc/self/task");
    }
    return count;
}

/// Reads until `size` bytes have come, the other end is closed, or nothing comes for `timeout_ms` (-1:
/// however long that takes).
inline std::string read_up_to(int fd, size_t size, int timeout_ms = 10'000) {
    std::string text;
    while (text.size() < size) {
        pollfd entry{fd, POLLIN, 0};
        if (poll(&entry, 1, timeout_ms) != 1) {
            break;
        }
        std::array<char, 4096> part{};
        const size_t wanted = std::min(part.size(), size - text.size());
        const ssize_t got = read(fd, part.data(), wanted);
        if (got <= 0) {
            break;
        }
        text.append(part.data(), static_cast<size_t>(got));
    }
    return text;
}

}  // namespace hull::test
