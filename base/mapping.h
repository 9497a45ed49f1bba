// The owner of a memory mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/unique_fd.h"

namespace hull {

/// Owns one mmap'ed area and unmaps it. Moveable, not copyable.
class Mapping {
  public:
    Mapping() = default;
    Mapping(Mapping&& other) noexcept
        : address_{std::exchange(other.address_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
    Mapping& operator=(Mapping&& other) noexcept;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    /// A whole file, read-only and private. Throws Error (bad_file).
    static Mapping of_file(const InputFile& file, std::string_view role);
    /// Shared pages of a descriptor (a vCPU's run area). `what` is for the message. Throws Error
    /// (no_resources).
    static Mapping shared(int fd, size_t size, std::string_view what);

    /// What the pages of an anonymous mapping are made of.
    enum class Pages {
        transparent,  ///< ordinary pages that the kernel may join to huge ones
        huge,         ///< the host's reserved huge pages (hugetlbfs), 2 MiB each
    };
    /// `size` bytes of zeros (a multiple of 2 MiB for Pages::huge), at an address aligned to 2 MiB so that
    /// huge pages fit, left out of core dumps. Nothing is committed until touched, except that huge pages are
    /// reserved. Throws Error (no_resources) saying how much was wanted.
    static Mapping anonymous(size_t size, Pages pages);
    /// The same as a memfd that other processes can map too: `fd` becomes its descriptor, and the mapping is
    /// the whole of it. Its size is sealed, so that nobody can cut it off under the guest.
    static Mapping shareable(size_t size, Pages pages, UniqueFd& fd);

    /// `size` bytes of a file from `offset` on, a multiple of the page size, that can be written: the writes
    /// are this process's alone, and pages come in as they are touched. The file must not change, nor shrink,
    /// meanwhile. Otherwise as anonymous(), for transparent pages.
    static Mapping private_copy(const InputFile& file, uint64_t offset, size_t size);

    [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(address_); }
    [[nodiscard]] size_t size() const { return size_; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {data(), size_}; }

  private:
    Mapping(void* address, size_t size) : address_{address}, size_{size} {}
    static Mapping aligned(size_t size, int flags, int fd, uint64_t offset = 0);
    void reset();

    void* address_ = nullptr;
    size_t size_ = 0;
};

}  // namespace hull
