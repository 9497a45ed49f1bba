#include "base/mapping.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace hull {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

std::string mib(size_t bytes) {
    return std::to_string(bytes >> 20) + " MiB";
}

[[noreturn]] void throw_no_huge_pages(size_t size, int cause) {
    throw Error{ExitStatus::no_resources, "cannot get " + mib(size) + " of huge pages for the guest",
                errno_text(cause),
                "reserve them (as root: sysctl vm.nr_hugepages=" + std::to_string(size / kHugePage) +
                    ") or leave --hugepages out"};
}

}  // namespace

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    if (this != &other) {
        reset();
        address_ = std::exchange(other.address_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Mapping::~Mapping() {
    reset();
}

void Mapping::reset() {
    if (address_ != nullptr) {
        munmap(address_, size_);
        address_ = nullptr;
    }
}

Mapping Mapping::of_file(const InputFile& file, std::string_view role) {
    void* address = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
    if (address == MAP_FAILED) {
        throw Error{ExitStatus::bad_file,
                    std::string{"cannot map "}.append(role).append(" '") + file.path.string() + "'",
                    errno_text(errno)};
    }
    return {address, file.size};
}

Mapping Mapping::shared(int fd, size_t size, std::string_view what) {
    void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
        throw Error{ExitStatus::no_resources, std::string{"cannot map "}.append(what), errno_text(errno)};
    }
    return {address, size};
}

Mapping Mapping::anonymous(size_t size, Pages pages) {
    if (pages == Pages::transparent) {
        return aligned(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    }
    void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
    if (address == MAP_FAILED) {
        throw_no_huge_pages(size, errno);
    }
    madvise(address, size, MADV_DONTDUMP);
    return {address, size};
}

Mapping Mapping::shareable(size_t size, Pages pages, UniqueFd& fd) {
    const bool huge = pages == Pages::huge;
    fd = UniqueFd{memfd_create("guest-memory",
                               MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0U))};
    if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(size)) != 0 ||
        fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make " + mib(size) + " of shared memory for the guest",
                    errno_text(errno)};
    }
    if (!huge) {
        return aligned(size, MAP_SHARED | MAP_NORESERVE, fd.get());
    }
    void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (address == MAP_FAILED) {
        throw_no_huge_pages(size, errno);
    }
    madvise(address, size, MADV_DONTDUMP);
    return {address, size};
}

Mapping Mapping::private_copy(const InputFile& file, uint64_t offset, size_t size) {
    return aligned(size, MAP_PRIVATE | MAP_NORESERVE, file.fd.get(), offset);
}

/// Ordinary pages from a huge page's border on.
Mapping Mapping::aligned(size_t size, int flags, int fd, uint64_t offset) {
    // More is reserved than is used, and the rest trimmed.
    const size_t padded = size + kHugePage;
    errno = ENOMEM;  // for a size that wraps
    void* address =
        padded < size ? MAP_FAILED
                      : mmap(nullptr, padded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const auto fail = [size] {
        throw Error{ExitStatus::no_resources, "cannot map " + mib(size) + " for the guest", errno_text(errno),
                    "give the guest less memory (--memory) or raise the limit of address space (ulimit -v)"};
    };
    if (address == MAP_FAILED) {
        fail();
    }
    auto* reserved = static_cast<std::byte*>(address);
    const size_t misaligned = reinterpret_cast<uintptr_t>(reserved) % kHugePage;
    const size_t front = misaligned == 0 ? 0 : kHugePage - misaligned;
    if (front > 0) {
        munmap(reserved, front);
    }
    if (front < kHugePage) {
        munmap(reserved + front + size, kHugePage - front);
    }
    Mapping mapping{reserved + front, size};
    if (mmap(mapping.data(), size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
             static_cast<off_t>(offset)) == MAP_FAILED) {
        fail();
    }
    // Both are advice: a kernel without transparent huge pages refuses the second, and nothing is lost.
    madvise(mapping.data(), size, MADV_DONTDUMP);
    madvise(mapping.data(), size, MADV_HUGEPAGE);
    return mapping;
}

}  // namespace hull
