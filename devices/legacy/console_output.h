// Carries a console's output to a file descriptor, without ever holding up the vCPU that printed it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/byte_sink.h"
#include "base/unique_fd.h"
#include "base/worker_thread.h"

namespace hull {

/// Another description of the terminal or pipe that `fd` is, which is non-blocking for us alone. None for a
/// regular file, which never blocks in this sense and would lose its place, and for what cannot be opened
/// again.
UniqueFd reopen_without_blocking(int fd);

/// Buffers bytes and writes them from a thread of its own.
///
/// Nothing is lost as long as somebody reads, however slowly: past kHighWater buffered bytes the guest is
/// told to wait. Where the reader has taken nothing for kStall, it counts as gone until it reads again: what
/// is buffered stays for it, the guest waits no longer, and what it prints past the buffer is dropped and
/// counted (a warning tells the number). Where writing fails (a closed pipe, a full disk) a warning tells it
/// once and the rest is dropped. The process must ignore SIGPIPE.
class ConsoleOutput final : public ByteSink {
  public:
    static constexpr size_t kHighWater = size_t{1} << 20;
    /// Beyond kHighWater, for drivers that print without looking at the transmitter's state.
    static constexpr size_t kSlack = size_t{64} << 10;
    static constexpr std::chrono::milliseconds kStall{1000};
    /// How long a line that is not complete may wait for its rest.
    static constexpr std::chrono::milliseconds kLineWait{1};
    /// How long what is dropped after it was told of is only counted.
    static constexpr std::chrono::milliseconds kTellAgain{1000};

    /// Writes to `fd`, which must outlive this and is not changed: non-blocking mode would be shared with
    /// whoever gave it (see reopen_without_blocking()). What may block is written byte by byte. `on_room` is
    /// called on the writer's thread
    /// when put() answered false and there is room again; it may be empty.
    ConsoleOutput(int fd, std::function<void()> on_room);
    /// Writes out what is buffered, as long as the reader takes something at least every kStall.
    ~ConsoleOutput() override;

    bool put(std::span<const uint8_t> bytes) override;

    /// The time at which the first line was complete that the guest's kernel did not print itself (its lines
    /// start with "[" and a time stamp): the first sign of life of its user space. Any thread.
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> first_line_time() const;

  private:
    static constexpr size_t kChunk = 4096;  // bytes a write

    [[nodiscard]] bool is_worth_writing(size_t before) const;
    [[nodiscard]] bool is_empty() const;
    void run(int stop_fd);
    bool wait_for_output(int stop_fd);
    void note_progress(size_t written);
    void note_stall(bool for_good);
    void watch_lines(uint8_t byte);

    const std::function<void()> on_room_;
    int fd_;
    bool may_block_;
    UniqueFd wake_ = make_eventfd();

    mutable std::mutex mutex_;  // guards all down to thread_
    std::string buffer_;
    size_t in_flight_ = 0;      // bytes taken out of buffer_ that are not written yet
    bool stalled_ = false;      // the reader has taken nothing for kStall
    bool reader_gone_ = false;  // writing fails: there will be no reader again
    bool room_wanted_ = false;  // put() answered false, and on_room_ was not called since
    uint64_t dropped_ = 0;      // and not told yet
    std::chrono::steady_clock::time_point told_{};
    bool line_is_empty_ = true;
    bool line_is_kernels_ = false;
    std::optional<std::chrono::steady_clock::time_point> first_line_;

    WorkerThread thread_;  // last: it uses all of the above
};

}  // namespace hull
