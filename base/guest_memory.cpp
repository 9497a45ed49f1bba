#include "base/guest_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <utility>

namespace hull {

GuestMemory::GuestMemory(std::span<const GuestRange> ranges, Mapping::Pages pages, Sharing sharing)
    : page_size_{pages == Mapping::Pages::huge ? uint64_t{2} << 20 : 4096}, sharing_{sharing} {
    for (const GuestRange& range : ranges) {
        if (raw(range.start()) % page_size_ != 0 || range.size() % page_size_ != 0) {
            throw std::invalid_argument{"a guest memory region is not made of whole pages"};
        }
        for (const Region& other : regions_) {
            if (other.range.overlaps(range)) {
                throw std::invalid_argument{"two guest memory regions overlap"};
            }
        }
        UniqueFd fd;
        Mapping mapping = sharing == Sharing::shareable ? Mapping::shareable(range.size(), pages, fd)
                                                        : Mapping::anonymous(range.size(), pages);
        regions_.push_back({range, std::move(mapping), std::move(fd)});
    }
    std::sort(regions_.begin(), regions_.end(),
              [](const Region& a, const Region& b) { return a.range.start() < b.range.start(); });
}

uint64_t GuestMemory::size() const {
    uint64_t total = 0;
    for (const Region& region : regions_) {
        total += region.range.size();
    }
    return total;
}

std::optional<std::span<std::byte>> GuestMemory::slice(const GuestRange& range) const {
    for (const Region& region : regions_) {
        if (region.range.contains(range)) {
            const uint64_t offset = raw(range.start()) - raw(region.range.start());
            return region.mapping.bytes().subspan(offset, range.size());
        }
    }
    return std::nullopt;
}

bool GuestMemory::discard(const GuestRange& range) {
    const auto memory = slice(range);
    // Checked here, since madvise() rounds sizes, each kind of page its own way.
    const bool whole_pages = raw(range.start()) % page_size_ == 0 && range.size() % page_size_ == 0;
    // Of a memfd the mapping alone would be given up, and the pages kept.
    const int how = sharing_ == Sharing::shareable ? MADV_REMOVE : MADV_DONTNEED;
    return memory && whole_pages && madvise(memory->data(), memory->size(), how) == 0;
}

bool GuestMemory::read_bytes(GuestAddress address, std::span<std::byte> target) const {
    if (target.empty()) {
        return true;
    }
    const auto range = GuestRange::make(address, target.size());
    const auto source = range ? slice(*range) : std::nullopt;
    if (!source) {
        return false;
    }
    std::memcpy(target.data(), source->data(), target.size());
    // Keeps the compiler from reading guest memory again where it needs the copy once more.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return true;
}

bool GuestMemory::write_bytes(GuestAddress address, std::span<const std::byte> source) {
    if (source.empty()) {
        return true;
    }
    const auto range = GuestRange::make(address, source.size());
    const auto target = range ? slice(*range) : std::nullopt;
    if (!target) {
        return false;
    }
    std::memcpy(target->data(), source.data(), source.size());
    return true;
}

}  // namespace hull
