#include "container/supervisor/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "container/image/json.h"
#include "container/image/timestamp.h"

namespace hull::container {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMostText = size_t{16} << 10;  // of an entry, as Docker's
constexpr size_t kMostLine = size_t{1} << 20;   // far above what an entry becomes
constexpr size_t kBlock = size_t{64} << 10;

fs::path numbered(const fs::path& path, unsigned number) {
    return number == 0 ? path : fs::path{path.string() + "." + std::to_string(number)};
}

bool is_continuation(char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

bool is_plain(char byte) {
    return byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\';
}

void append_quoted(std::string& to, std::string_view text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    to += '"';
    while (!text.empty()) {
        const auto plain =
            static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_plain) - text.begin());
        to += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) {
            break;
        }
        const size_t size = utf8_character_size(text);
        const char first = text.front();
        if (size == 0) {
            to += "\\ufffd";
        } else if (first == '"' || first == '\\') {
            to += '\\';
            to += first;
        } else if (first == '\n') {
            to += "\\n";
        } else if (static_cast<unsigned char>(first) < ' ') {
            to += "\\u00";
            to += kDigits[static_cast<size_t>(first) >> 4];
            to += kDigits[static_cast<size_t>(first) & 15];
        } else {
            to += text.substr(0, size);
        }
        text.remove_prefix(std::max<size_t>(size, 1));
    }
    to += '"';
}

/// How much of a text that is too long becomes an entry: whole characters, where it has any.
size_t cut(std::string_view text) {
    constexpr size_t kMostContinued = 3;
    size_t end = kMostText;
    while (end > kMostText - kMostContinued && is_continuation(text[end])) {
        --end;
    }
    return is_continuation(text[end]) ? kMostText : end;
}

std::optional<std::chrono::system_clock::time_point> entry_time(const std::string& text) {
    const auto seconds = parse_time(text);
    if (!seconds) {
        return std::nullopt;
    }
    int64_t part = 0;
    if (const size_t dot = text.find('.'); dot != std::string::npos) {
        int64_t unit = 100'000'000;
        for (size_t at = dot + 1; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10) {
            part += (text[at] - '0') * unit;
        }
    }
    constexpr std::chrono::seconds kMost = std::chrono::hours{24 * 365 * 250};  // that nanoseconds can tell
    if (*seconds > kMost || *seconds < -kMost) {
        return std::nullopt;
    }
    return std::chrono::system_clock::time_point{*seconds + std::chrono::nanoseconds{part}};
}

bool is_same_file(const struct stat& one, const struct stat& other) {
    return one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

}  // namespace

std::optional<LogEntry> parse_log_entry(std::string_view line) {
    try {
        const std::string tried = "cannot read a log";
        const auto value = parse_json_object(line, tried);
        const JsonObject object{value, tried};
        const std::string stream = object.text("stream");
        const auto time = entry_time(object.text("time"));
        const auto* const text = value.if_contains("log");
        if ((stream != "stdout" && stream != "stderr") || !time || text == nullptr || !text->is_string()) {
            return std::nullopt;
        }
        // A program may print NUL, which JsonObject would refuse.
        return LogEntry{.stream = stream == "stdout" ? LogStream::output : LogStream::errors,
                        .text = std::string{text->get_string().data(), text->get_string().size()},
                        .time = *time};
    } catch (const Error&) {
        return std::nullopt;
    }
}

LogWriter::LogWriter(fs::path path, LogConfig config) : path_{std::move(path)}, config_{config} {
    if (config_.is_kept && !open_file()) {
        throw Error{ExitStatus::no_resources, "cannot open the log '" + path_.string() + "'",
                    errno_text(errno), "check who may write there"};
    }
}

bool LogWriter::open_file() {
    file_ = UniqueFd{open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640)};
    struct stat status {};
    if (!file_.valid() || fstat(file_.get(), &status) != 0) {
        return false;
    }
    size_ = static_cast<uint64_t>(status.st_size);
    char last = '\n';
    if (size_ > 0 && pread(file_.get(), &last, 1, status.st_size - 1) == 1 && last != '\n') {
        entries_ = "\n";  // behind what somebody was killed in the middle of
    }
    return true;
}

void LogWriter::add(LogStream stream, std::string_view bytes) {
    if (!config_.is_kept) {
        return;
    }
    const std::string time = time_text(std::chrono::system_clock::now());
    std::string& waiting = waiting_.at(stream == LogStream::output ? 0 : 1);
    while (!bytes.empty()) {
        const size_t end = bytes.substr(0, kMostText).find('\n');
        const size_t taken = end == std::string_view::npos ? std::min(bytes.size(), kMostText) : end + 1;
        waiting += bytes.substr(0, taken);
        bytes.remove_prefix(taken);
        while (waiting.size() > kMostText) {
            const size_t part = cut(waiting);
            add_entry(stream, std::string_view{waiting}.substr(0, part), time);
            waiting.erase(0, part);
        }
        if (end != std::string_view::npos) {
            add_entry(stream, waiting, time);
            waiting.clear();
        }
    }
    write_entries();
}

void LogWriter::flush() {
    const std::string time = time_text(std::chrono::system_clock::now());
    for (const LogStream stream : {LogStream::output, LogStream::errors}) {
        std::string& waiting = waiting_.at(stream == LogStream::output ? 0 : 1);
        if (!waiting.empty()) {
            add_entry(stream, waiting, time);
            waiting.clear();
        }
    }
    write_entries();
}

void LogWriter::add_entry(LogStream stream, std::string_view text, const std::string& time) {
    std::string line = R"({"log":)";
    append_quoted(line, text);
    line += stream == LogStream::output ? R"(,"stream":"stdout","time":")" : R"(,"stream":"stderr","time":")";
    line += time + "\"}\n";
    const uint64_t whole = size_ + entries_.size();
    if (config_.most_bytes != 0 && whole > 0 && whole + line.size() > config_.most_bytes) {
        write_entries();
        begin_next_file();
    }
    entries_ += line;
}

void LogWriter::write_entries() {
    if (entries_.empty() || (!file_.valid() && !open_file())) {
        entries_.clear();
        return;
    }
    const std::string entries = std::exchange(entries_, {});
    size_t written = 0;
    while (written < entries.size()) {
        const ssize_t done = write(file_.get(), entries.data() + written, entries.size() - written);
        if (done < 0 && errno != EINTR) {
            // What was written in part would spoil the next line.
            [[maybe_unused]] const int cut = ftruncate(file_.get(), static_cast<off_t>(size_));
            return;
        }
        written += static_cast<size_t>(std::max<ssize_t>(done, 0));
    }
    size_ += entries.size();
}

void LogWriter::begin_next_file() {
    file_.reset();
    if (config_.most_files == 1) {
        unlink(path_.c_str());
    }
    for (unsigned number = config_.most_files - 1; number > 0; --number) {
        rename(numbered(path_, number - 1).c_str(), numbered(path_, number).c_str());
    }
    size_ = 0;
    static_cast<void>(open_file());  // tried again with the next lines where it cannot
}

LogReader::LogReader(fs::path path, std::optional<uint64_t> tail) : path_{std::move(path)} {
    if (tail) {
        go_back_by(*tail);
    } else {
        open_oldest();
    }
}

void LogReader::open_oldest() {
    // While files are renamed the name of one of them is missing.
    for (unsigned number = 0, missing = 0; missing < 2; ++number) {
        UniqueFd file{open(numbered(path_, number).c_str(), O_RDONLY | O_CLOEXEC)};
        missing = file.valid() ? 0 : missing + 1;
        if (file.valid()) {
            file_ = std::move(file);
        }
    }
}

/// The place of the last `entries` ones: lines are looked for from the end on, a block at a time.
void LogReader::go_back_by(uint64_t entries) {
    uint64_t found = 0;
    for (unsigned number = 0, missing = 0; missing < 2; ++number) {
        UniqueFd file{open(numbered(path_, number).c_str(), O_RDONLY | O_CLOEXEC)};
        struct stat status {};
        missing = file.valid() ? 0 : missing + 1;
        if (!file.valid() || fstat(file.get(), &status) != 0) {
            continue;
        }
        file_ = std::move(file);
        const auto byte_at = [&](uint64_t place) {
            char byte = 0;
            return pread(file_.get(), &byte, 1, static_cast<off_t>(place)) == 1 ? byte : '\0';
        };
        offset_ = static_cast<uint64_t>(status.st_size);
        if (found == entries) {
            return;  // none at all are wanted: only what is new
        }
        uint64_t line_end = 0;  // of the line that is looked at, behind its last byte; 0: none yet
        std::string block;
        for (uint64_t begin = offset_; begin > 0;) {
            const uint64_t size = std::min<uint64_t>(begin, kBlock);
            begin -= size;
            block.resize(size);
            if (pread(file_.get(), block.data(), size, static_cast<off_t>(begin)) !=
                static_cast<ssize_t>(size)) {
                break;  // it has become shorter
            }
            for (size_t index = size; index-- > 0;) {
                const bool is_first = begin + index == 0 && block[index] != '\n';
                if (block[index] != '\n' && !is_first) {
                    continue;
                }
                const uint64_t line = is_first ? 0 : begin + index + 1;
                // What somebody was killed in the middle of does not end as an entry does.
                if (line_end > line && byte_at(line) == '{' && byte_at(line_end - 1) == '}') {
                    offset_ = line;
                    if (++found == entries) {
                        return;
                    }
                }
                line_end = begin + index;
            }
        }
        offset_ = 0;
    }
}

std::optional<LogEntry> LogReader::next() {
    if (!file_.valid()) {
        open_oldest();
    }
    while (file_.valid()) {
        const size_t end = read_.find('\n', at_);
        if (end != std::string::npos) {
            const std::string_view line{read_.data() + at_, end - at_};
            std::optional<LogEntry> entry =
                std::exchange(is_too_long_, false) ? std::nullopt : parse_log_entry(line);
            at_ = end + 1;
            if (entry) {
                return entry;
            }
        } else if (!fill() && !go_to_next_file()) {
            return std::nullopt;
        }
    }
    return std::nullopt;
}

/// Reads more of the file. False where there is no more: what is there of a line is read again then, since
/// its writer may take it back.
bool LogReader::fill() {
    offset_ += at_;
    read_.erase(0, at_);
    at_ = 0;
    if (read_.size() > kMostLine) {
        is_too_long_ = true;
        offset_ += read_.size();
        read_.clear();
    }
    const size_t had = read_.size();
    read_.resize(had + kBlock);
    const ssize_t got = pread(file_.get(), read_.data() + had, kBlock, static_cast<off_t>(offset_ + had));
    read_.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got <= 0) {
        read_.clear();
        return false;
    }
    return true;
}

/// False where this one is the newest.
bool LogReader::go_to_next_file() {
    struct stat own {};
    if (fstat(file_.get(), &own) != 0) {
        return false;
    }
    // Files move on by one number at a time while this looks: so what was found is looked at again.
    constexpr int kTries = 10;
    for (int tries = 0; tries < kTries; ++tries) {
        struct stat found {};
        unsigned number = 0;
        for (unsigned missing = 0; missing < 2; ++number) {
            const bool is_there = stat(numbered(path_, number).c_str(), &found) == 0;
            missing = is_there ? 0 : missing + 1;
            if (is_there && is_same_file(found, own)) {
                break;
            }
        }
        const bool is_found = is_same_file(found, own);
        if (is_found && number == 0) {
            return false;
        }
        if (!is_found && own.st_nlink != 0) {
            continue;  // it is being renamed
        }
        // Lines may have come between the last look and the last one that was written to it.
        while (fill()) {
            if (read_.find('\n') != std::string::npos) {
                return true;
            }
        }
        UniqueFd next;
        if (is_found) {
            next = UniqueFd{open(numbered(path_, number - 1).c_str(), O_RDONLY | O_CLOEXEC)};
            struct stat again {};
            if (!next.valid() || stat(numbered(path_, number).c_str(), &again) != 0 ||
                !is_same_file(again, own)) {
                continue;
            }
            file_ = std::move(next);
        } else {
            const UniqueFd before = std::exchange(file_, UniqueFd{});
            open_oldest();  // those between are gone
        }
        offset_ = 0;
        at_ = 0;
        read_.clear();
        is_too_long_ = false;
        return file_.valid();
    }
    return false;
}

}  // namespace hull::container
