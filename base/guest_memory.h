// The guest's physical memory, and the only way to reach it.
#pragma once

#include <atomic>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "base/mapping.h"

namespace hull {

/// A guest-physical address in bytes. Any value is representable; whether memory is there is GuestMemory's to
/// say.
enum class GuestAddress : uint64_t {};

constexpr uint64_t raw(GuestAddress address) {
    return static_cast<uint64_t>(address);
}

/// A range of guest-physical addresses that is not empty and does not wrap; its last byte may be 2^64 - 1.
class GuestRange {
  public:
    /// Nothing where `size` is 0 or the range would wrap past 2^64.
    static constexpr std::optional<GuestRange> make(GuestAddress start, uint64_t size) {
        if (size == 0 || raw(start) + (size - 1) < raw(start)) {
            return std::nullopt;
        }
        return GuestRange{start, size};
    }
    /// For ranges that are known good when the program is written: does not compile, or ends the program,
    /// otherwise.
    static constexpr GuestRange of(uint64_t start, uint64_t size) {
        return make(GuestAddress{start}, size).value();
    }

    [[nodiscard]] constexpr GuestAddress start() const { return start_; }
    [[nodiscard]] constexpr uint64_t size() const { return size_; }
    /// The address of the last byte in the range.
    [[nodiscard]] constexpr GuestAddress last() const { return GuestAddress{raw(start_) + (size_ - 1)}; }
    [[nodiscard]] constexpr bool contains(const GuestRange& other) const {
        return other.start_ >= start_ && other.last() <= last();
    }
    [[nodiscard]] constexpr bool overlaps(const GuestRange& other) const {
        return start_ <= other.last() && other.start_ <= last();
    }
    friend constexpr bool operator==(const GuestRange&, const GuestRange&) = default;

  private:
    constexpr GuestRange(GuestAddress start, uint64_t size) : start_{start}, size_{size} {}

    GuestAddress start_;
    uint64_t size_;
};

/// Guest-physical memory as regions of host memory. The address map does not change after construction.
///
/// Who copies the memory of a running guest elsewhere must learn what was written since: KVM tells what the
/// vCPUs wrote, and the log here what the host did. Every write of the host's passes mark_written(): those by
/// write() by themselves, those of a device in VirtQueue, and those of other programs and of the host's
/// kernel (vhost-user, vhost) set the bits of the same log.
///
/// The guest's vCPUs write this memory at any time. So a value that is to be trusted is copied out with
/// read() and checked in the copy; nothing that was validated is read a second time from here. Any thread may
/// call any member.
class GuestMemory {
  public:
    struct Region {
        GuestRange range;
        Mapping mapping;
        UniqueFd fd;  ///< of the memfd that the mapping is the whole of; none for Sharing::none
    };
    /// Who can see the memory.
    enum class Sharing {
        none,       ///< this process alone
        shareable,  ///< whoever is given the regions' descriptors; each first touch of a page costs more
    };

    /// Regions of zeros at the given ranges. Every size is a multiple of the page size (4 KiB; for
    /// Pages::huge 2 MiB) and ranges do not overlap; std::invalid_argument otherwise. Throws Error
    /// (no_resources) as Mapping does.
    GuestMemory(std::span<const GuestRange> ranges, Mapping::Pages pages, Sharing sharing = Sharing::none);

    /// Regions that begin with the contents of `image`, one behind the other by address: copies where they
    /// are shareable, else this memory's own view of the file (Mapping::private_copy()). `ranges` are sorted,
    /// made of whole pages of 4 KiB and not longer together than the file; std::invalid_argument otherwise.
    /// Throws Error (no_resources, or bad_file where the file cannot be read).
    GuestMemory(std::span<const GuestRange> ranges, const InputFile& image, Sharing sharing = Sharing::none);

    [[nodiscard]] const std::vector<Region>& regions() const { return regions_; }
    /// The sum of all regions in bytes.
    [[nodiscard]] uint64_t size() const;

    /// Copies a T out; nothing where [address, address + sizeof(T)) is not wholly inside one region.
    template <typename T>
    requires std::is_trivially_copyable_v<T>
    [[nodiscard]] std::optional<T> read(GuestAddress address) const {
        T value;
        if (!read_bytes(address, std::as_writable_bytes(std::span{&value, 1}))) {
            return std::nullopt;
        }
        return value;
    }
    /// Copies a T in; false, with nothing written, where it would not lie wholly inside one region.
    template <typename T>
    requires std::is_trivially_copyable_v<T>
    [[nodiscard]] bool write(GuestAddress address, const T& value) {
        return write_bytes(address, std::as_bytes(std::span{&value, 1}));
    }
    /// As read() and write(), for any number of bytes; no bytes at all always succeed.
    [[nodiscard]] bool read_bytes(GuestAddress address, std::span<std::byte> target) const;
    [[nodiscard]] bool write_bytes(GuestAddress address, std::span<const std::byte> source);

    /// The host's view of a range that lies wholly inside one region; nothing otherwise. For filling memory
    /// before the guest runs (a file is read straight into it); a running guest may change what is seen here
    /// at any moment.
    [[nodiscard]] std::optional<std::span<std::byte>> slice(const GuestRange& range) const;

    /// Where the guest has host memory that slice() gave; nothing where it is no such.
    [[nodiscard]] std::optional<GuestAddress> address_of(const std::byte* memory) const;

    /// Says that the host has written there. `memory` is host memory inside one region, as slice() gives it.
    void mark_written(std::span<const std::byte> memory) const {
        if (is_logged()) [[unlikely]] {
            mark_pages(memory);
        }
    }
    [[nodiscard]] bool is_logged() const { return is_logged_.load(std::memory_order_relaxed); }

    /// A bit for each page of kLogPage bytes from guest-physical address 0 on, the lowest of a byte first: as
    /// vhost (linux/vhost_types.h, VHOST_F_LOG_ALL) and vhost-user ("Migration") have it.
    struct WriteLog {
        int fd;  ///< of a memfd, the whole of which it is
        std::span<std::byte> bits;
    };
    static constexpr uint64_t kLogPage = 4096;
    /// Begins to log what the host writes, with no page marked; devices look at write_log() when they are
    /// activated, so while no device is active. Harmless where it has begun. Throws Error (no_resources).
    void start_write_log();
    /// No page is logged any more. Where devices are active, theirs still may be.
    void stop_write_log() { is_logged_ = false; }
    /// Nothing while nothing is logged. It stays where it is as long as the memory.
    [[nodiscard]] std::optional<WriteLog> write_log() const;
    /// Calls each(range) for what was written since the log began or this was last called. What is written
    /// while it runs is told now or the next time.
    void take_written(const std::function<void(const GuestRange&)>& each);

    /// Gives the memory of a range back to the host: it reads as zeros then, and takes none until it is
    /// written again. False, with nothing changed, where the range is not wholly inside one region or not
    /// made of whole pages of its backing, or where the host cannot (huge pages before Linux 5.18).
    [[nodiscard]] bool discard(const GuestRange& range);

  private:
    void check(std::span<const GuestRange> ranges) const;
    void mark_pages(std::span<const std::byte> memory) const;

    uint64_t page_size_;  // of the backing, in bytes
    Sharing sharing_;
    bool is_of_file_ = false;      // pages that are given up would have the file's contents again
    std::vector<Region> regions_;  // by address
    std::atomic<bool> is_logged_{false};
    Mapping log_;  // once it has begun, for good, since other threads may be about to mark a page
    UniqueFd log_fd_;
};

}  // namespace hull
