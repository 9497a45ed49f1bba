// What a container prints, kept on the host.
#pragma once

#include <array>
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

  private:
    void add_entry(LogStream stream, std::string_view text, const std::string& time);
    void write_entries();
    void begin_next_file();
    bool open_file();

    std::filesystem::path path_;
    LogConfig config_;
    UniqueFd file_;
    uint64_t size_ = 0;                   // of the file
    std::string entries_;                 // that are to be written to it
    std::array<std::string, 2> waiting_;  // for the end of its line, of each stream
};

/// Reads them, in files that are written to meanwhile. One thread.
class LogReader {
  public:
    /// From the first entry that is kept, or the last `tail` ones.
    LogReader(std::filesystem::path path, std::optional<uint64_t> tail);

    /// The next entry; none where there is none yet. What cannot be understood (a host that died in the
    /// middle of a line) is passed over.
    std::optional<LogEntry> next();

  private:
    void open_oldest();
    bool go_to_next_file();
    void go_back_by(uint64_t entries);
    bool fill();

    std::filesystem::path path_;
    UniqueFd file_;        // none: there has not been one
    uint64_t offset_ = 0;  // in the file, of what lies in `read_`
    std::string read_;
    size_t at_ = 0;             // in `read_`, of the next line
    bool is_too_long_ = false;  // the line at hand, whose rest is passed over
};

/// A line of a log's, without its end. None where it is none. Any thread.
std::optional<LogEntry> parse_log_entry(std::string_view line);

}  // namespace hull::container
