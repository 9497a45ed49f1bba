// What a container prints, kept on the host.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "container/supervisor/container_files.h"

namespace hull::container {

enum class LogStream : uint8_t { output = 1, errors = 2 };

/// A line, or a part of one that is longer than 16 KiB, with its end.
struct LogEntry {
    LogStream stream = LogStream::output;
    std::string text;
    std::chrono::system_clock::time_point time;
};

/// Writes lines as Docker's json-file does ({"log":…,"stream":…,"time":…}), and begins another file when one
/// is full: PATH is the newest, PATH.1 the one before. What a program prints without an end of line waits for
/// it up to 16 KiB. Bytes that are no UTF-8 become U+FFFD. A disk without room costs lines and nothing else.
/// One thread.
class LogWriter {
  public:
    /// Goes on behind what is there. Throws Error (no_resources).
    LogWriter(std::filesystem::path path, LogConfig config);

    void add(LogStream stream, std::string_view bytes);
    /// Writes what waits for the end of its line.
    void flush();
};

/// Reads them, in files that are written to meanwhile. One thread.
class LogReader {
  public:
    /// From the first entry that is kept, or the last `tail` ones.
    LogReader(std::filesystem::path path, std::optional<uint64_t> tail);

    /// The next entry; none where there is none yet. What cannot be understood (a host that died in the
    /// middle of a line) is passed over.
    std::optional<LogEntry> next();
};

}  // namespace hull::container
