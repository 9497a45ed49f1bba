// The owner of a file descriptor, and the few ways that Hull makes one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace hull {

/// Owns one file descriptor and closes it. Moveable, not copyable. Not thread-safe in itself.
class UniqueFd {
  public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_{fd} {}
    UniqueFd(UniqueFd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    UniqueFd& operator=(UniqueFd&& other) noexcept;
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd();

    /// The descriptor, or -1 where there is none.
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool valid() const { return fd_ >= 0; }
    /// Closes the descriptor now; harmless where there is none.
    void reset();

  private:
    int fd_ = -1;
};

/// A regular file opened for reading, with its size at that moment.
struct InputFile {
    UniqueFd fd;
    uint64_t size = 0;           ///< bytes, above zero
    std::filesystem::path path;  ///< for messages
};

/// Opens a regular, non-empty file for reading. `role` is what the file is to the user ("kernel").
/// Throws Error (bad_file) where it is missing, unreadable, a folder, no regular file, or empty.
InputFile open_input_file(const std::filesystem::path& path, std::string_view role);

/// Fills [buffer, buffer + size) from the file at `offset`. `role` as above.
/// Throws Error (bad_file) on a read error or where the file ends before.
void read_exactly(const InputFile& file, std::string_view role, uint64_t offset, void* buffer, size_t size);

/// Another descriptor of the same open file, close-on-exec; none where there can be none (errno says why).
UniqueFd duplicate(int fd);

/// A blocking, close-on-exec eventfd with value 0. Throws Error (no_resources).
UniqueFd make_eventfd();

/// Adds one to an eventfd, which wakes whoever polls or reads it. Any thread; async-signal-safe.
void signal_eventfd(int fd);

/// Takes what an eventfd counts, so that it is no longer readable. Only where it is known to be readable, or
/// for an fd that has one reader: it blocks otherwise.
void drain_eventfd(int fd);

/// Whether a read would not wait: there is something, or the end. Any thread.
[[nodiscard]] bool is_readable(int fd);

}  // namespace hull
