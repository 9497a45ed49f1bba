#include "base/mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>

namespace hull {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

std::string mib(size_t bytes) {
    return std::to_string(bytes >> 20) + " MiB";
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
    if (pages == Pages::huge) {
        void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
        if (address == MAP_FAILED) {
            throw Error{ExitStatus::no_resources, "cannot get " + mib(size) + " of huge pages for the guest",
                        errno_text(errno),
                        "reserve them (as root: sysctl vm.nr_hugepages=" + std::to_string(size / kHugePage) +
                            ") or leave --hugepages out"};
        }
        madvise(address, size, MADV_DONTDUMP);
        return {address, size};
    }
    // Mapped larger and trimmed, so that the start lies on a huge page's border.
    const size_t padded = size + kHugePage;
    errno = ENOMEM;  // for a size that wraps
    void* address = padded < size ? MAP_FAILED
                                  : mmap(nullptr, padded, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
        throw Error{ExitStatus::no_resources, "cannot map " + mib(size) + " for the guest", errno_text(errno),
                    "give the guest less memory (--memory) or raise the limit of address space (ulimit -v)"};
    }
    auto* start = static_cast<std::byte*>(address);
    const size_t misaligned = reinterpret_cast<uintptr_t>(start) % kHugePage;
    const size_t front = misaligned == 0 ? 0 : kHugePage - misaligned;
    if (front > 0) {
        munmap(start, front);
    }
    if (front < kHugePage) {
        munmap(start + front + size, kHugePage - front);
    }
    // Both are advice: a kernel without transparent huge pages refuses the second, and nothing is lost.
    madvise(start + front, size, MADV_DONTDUMP);
    madvise(start + front, size, MADV_HUGEPAGE);
    return {start + front, size};
}

}  // namespace hull
