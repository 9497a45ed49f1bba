// The lists that some of KVM's requests take: a count, and then so many entries.
#pragma once

#include <linux/ioctl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace hull {

/// A request's number has the size of its structure in it. For one that ends with a flexible array, before
/// which some versions of Linux's headers put an empty structure, which has a size in C++: the number as it
/// is in C.
constexpr unsigned long sized_request(unsigned long number, size_t size) {
    return _IOC(_IOC_DIR(number), _IOC_TYPE(number), _IOC_NR(number), size);
}

/// A list as struct kvm_cpuid2 and struct kvm_msrs declare it for C: 8 bytes of header, the count first, then
/// entries. Those structures cannot be used themselves, since the flexible array in some versions of Linux's
/// headers is preceded by an empty structure, which has a size in C++: both the layout and the request
/// numbers come out wrong.
template <typename Entry>
requires std::is_trivially_copyable_v<Entry>
class CountedList {
  public:
    /// `capacity` entries of zeros, all counted.
    explicit CountedList(uint32_t capacity) : words_((kHeader + capacity * sizeof(Entry) + 7) / 8) {
        std::memcpy(words_.data(), &capacity, sizeof capacity);
    }
    explicit CountedList(std::span<const Entry> entries)
        : CountedList{static_cast<uint32_t>(entries.size())} {
        std::memcpy(words_.data() + 1, entries.data(), entries.size_bytes());
    }

    /// The entries that are counted now: a request may have lowered the count.
    [[nodiscard]] std::vector<Entry> entries() const {
        uint32_t count = 0;
        std::memcpy(&count, words_.data(), sizeof count);
        std::vector<Entry> result(count);
        std::memcpy(result.data(), words_.data() + 1, count * sizeof(Entry));
        return result;
    }

    [[nodiscard]] void* data() { return words_.data(); }

    /// The number of a request on such a list, from the one that Linux's header gives.
    static constexpr unsigned long request(unsigned long number) { return sized_request(number, kHeader); }

  private:
    static constexpr size_t kHeader = sizeof(uint64_t);

    std::vector<uint64_t> words_;
};

}  // namespace hull
