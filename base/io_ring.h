// io_uring(7): operations on files that are started here and end in the kernel.
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace hull {

/// One ring, for one thread: the one that makes it; another may destroy it. It can read, write, synchronize
/// and punch holes in the files that it was made with, or watch them, and can do nothing else, nor be given
/// anything else later, since what it does goes around a seccomp filter. Operations that have not ended when
/// it is destroyed go on in the kernel for a while: wait for those that use memory which goes away.
class IoRing {
  public:
    /// A ring for up to `entries` (1 to 4096) operations at a time on `files`, which are known by their place
    /// in there from then on. Nothing where the host has no io_uring or does not permit it.
    static std::optional<IoRing> make(unsigned entries, std::span<const int> files);

    IoRing(IoRing&&) noexcept = default;
    IoRing& operator=(IoRing&&) noexcept = default;
    IoRing(const IoRing&) = delete;
    IoRing& operator=(const IoRing&) = delete;
    ~IoRing() = default;

    /// Prepare an operation; wait() hands it to the kernel. `tag` comes back with its end. The iovecs must
    /// stay until wait() has been called, their memory until the end.
    void read(int file, std::span<const iovec> memory, uint64_t offset, uint64_t tag);
    void write(int file, std::span<const iovec> memory, uint64_t offset, uint64_t tag);
    /// Ends each time that an eventfd is signalled, and at once where it has been and was not read since. It
    /// is not read here, so that nothing is to be started again: an End with `goes_on` is not the last.
    void watch(int file, uint64_t tag);
    /// Ends once, when the eventfd has been signalled and was not read since.
    void watch_once(int file, uint64_t tag);
    /// fdatasync(2).
    void synchronize(int file, uint64_t tag);
    /// fallocate(2).
    void allocate(int file, int mode, uint64_t offset, uint64_t length, uint64_t tag);

    struct End {
        uint64_t tag;
        int32_t result;  ///< as of the system call, or a negative errno
        bool goes_on;    ///< a watch that will end again
    };
    static constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();
    /// Hands over what was prepared, sleeps until an operation has ended if none has, and fills `ends`, which
    /// is not empty. Answers how many there are: none only where `most` has passed.
    size_t wait(std::span<End> ends, std::chrono::nanoseconds most);

  private:
    struct Close {
        void operator()(io_uring* ring) const;
    };
    explicit IoRing(std::unique_ptr<io_uring, Close> ring) : ring_{std::move(ring)} {}

    std::unique_ptr<io_uring, Close> ring_;  // not moved: the kernel's memory is mapped to it
};

}  // namespace hull
