#include "base/guest_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <stdexcept>
#include <utility>

namespace hull {

GuestMemory::GuestMemory(std::span<const GuestRange> ranges, Mapping::Pages pages, Sharing sharing)
    : page_size_{pages == Mapping::Pages::huge ? uint64_t{2} << 20 : 4096}, sharing_{sharing} {
    check(ranges);
    for (const GuestRange& range : ranges) {
        UniqueFd fd;
        Mapping mapping = sharing == Sharing::shareable ? Mapping::shareable(range.size(), pages, fd)
                                                        : Mapping::anonymous(range.size(), pages);
        regions_.push_back({range, std::move(mapping), std::move(fd)});
    }
    std::sort(regions_.begin(), regions_.end(),
              [](const Region& a, const Region& b) { return a.range.start() < b.range.start(); });
}

GuestMemory::GuestMemory(std::span<const GuestRange> ranges, const InputFile& image, Sharing sharing)
    : page_size_{kLogPage}, sharing_{sharing}, is_of_file_{sharing == Sharing::none} {
    check(ranges);
    uint64_t offset = 0;
    for (const GuestRange& range : ranges) {
        if (image.size < range.size() || offset > image.size - range.size()) {
            throw std::invalid_argument{"a guest's memory is longer than its image"};
        }
        UniqueFd fd;
        Mapping mapping = is_of_file_ ? Mapping::private_copy(image, offset, range.size())
                                      : Mapping::shareable(range.size(), Mapping::Pages::transparent, fd);
        if (!is_of_file_) {
            read_exactly(image, "the guest's memory", offset, mapping.data(), mapping.size());
        }
        regions_.push_back({range, std::move(mapping), std::move(fd)});
        offset += range.size();
    }
}

void GuestMemory::check(std::span<const GuestRange> ranges) const {
    for (size_t number = 0; number < ranges.size(); ++number) {
        const GuestRange& range = ranges[number];
        if (raw(range.start()) % page_size_ != 0 || range.size() % page_size_ != 0) {
            throw std::invalid_argument{"a guest memory region is not made of whole pages"};
        }
        for (const GuestRange& other : ranges.first(number)) {
            if (other.overlaps(range)) {
                throw std::invalid_argument{"two guest memory regions overlap"};
            }
        }
    }
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
        // Below the region's start this wraps, and is beyond its end then, too.
        const uint64_t offset = raw(range.start()) - raw(region.range.start());
        if (offset < region.range.size() && range.size() <= region.range.size() - offset) {
            return std::span{region.mapping.data() + offset, range.size()};
        }
    }
    return std::nullopt;
}

bool GuestMemory::discard(const GuestRange& range) {
    const auto memory = slice(range);
    // Checked here, since madvise() rounds sizes, each kind of page its own way.
    const bool whole_pages = raw(range.start()) % page_size_ == 0 && range.size() % page_size_ == 0;
    if (!memory || !whole_pages) {
        return false;
    }
    if (is_of_file_) {
        // Given up, they would have the file's contents again.
        if (mmap(memory->data(), memory->size(), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
            return false;
        }
    } else if (const int how = sharing_ == Sharing::shareable ? MADV_REMOVE : MADV_DONTNEED;
               // Of a memfd the mapping alone would be given up otherwise, and the pages kept.
               madvise(memory->data(), memory->size(), how) != 0) {
        return false;
    }
    mark_written(*memory);
    return true;
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
    mark_written(*target);
    return true;
}

namespace {

constexpr uint64_t kBitsPerWord = 64;

std::atomic_ref<uint64_t> word_of(std::span<std::byte> log, uint64_t index) {
    return std::atomic_ref{reinterpret_cast<uint64_t*>(log.data())[index]};
}

}  // namespace

std::optional<GuestAddress> GuestMemory::address_of(const std::byte* memory) const {
    for (const Region& region : regions_) {
        const std::byte* start = region.mapping.data();
        if (memory >= start && memory < start + region.mapping.size()) {
            return GuestAddress{raw(region.range.start()) + static_cast<uint64_t>(memory - start)};
        }
    }
    return std::nullopt;
}

void GuestMemory::mark_pages(std::span<const std::byte> memory) const {
    const auto address = address_of(memory.data());
    if (memory.empty() || !address) {
        return;
    }
    const uint64_t first = raw(*address);
    for (uint64_t page = first / kLogPage; page <= (first + memory.size() - 1) / kLogPage; ++page) {
        // Release: who takes the bit sees what was written before it was set.
        word_of(log_.bytes(), page / kBitsPerWord)
            .fetch_or(uint64_t{1} << (page % kBitsPerWord), std::memory_order_release);
    }
}

void GuestMemory::start_write_log() {
    if (is_logged_) {
        return;
    }
    if (log_.size() == 0) {
        const uint64_t pages = raw(regions_.back().range.last()) / kLogPage + 1;
        const uint64_t bytes = (pages + kBitsPerWord - 1) / kBitsPerWord * sizeof(uint64_t);
        log_ = Mapping::shareable((bytes + kLogPage - 1) / kLogPage * kLogPage, Mapping::Pages::transparent,
                                  log_fd_);
    }
    take_written([](const GuestRange& /*of the last time*/) {});
    is_logged_ = true;
}

std::optional<GuestMemory::WriteLog> GuestMemory::write_log() const {
    return is_logged_ ? std::optional{WriteLog{.fd = log_fd_.get(), .bits = log_.bytes()}} : std::nullopt;
}

void GuestMemory::take_written(const std::function<void(const GuestRange&)>& each) {
    uint64_t first = 0;  // of the pages that were found and not told yet
    uint64_t count = 0;
    const auto tell = [&] {
        if (const auto range = GuestRange::make(GuestAddress{first * kLogPage}, count * kLogPage)) {
            each(*range);
        }
        count = 0;
    };
    for (uint64_t index = 0; index < log_.size() / sizeof(uint64_t); ++index) {
        const auto word = word_of(log_.bytes(), index);
        // Most hold nothing; a page of the log that nobody has written stays one that takes no memory.
        uint64_t bits = word.load(std::memory_order_relaxed) == 0 ? 0 : word.exchange(0);
        for (; bits != 0; bits &= bits - 1) {
            const uint64_t page = index * kBitsPerWord + static_cast<uint64_t>(std::countr_zero(bits));
            if (count > 0 && page != first + count) {
                tell();
            }
            first = count == 0 ? page : first;
            ++count;
        }
    }
    tell();
}

}  // namespace hull
