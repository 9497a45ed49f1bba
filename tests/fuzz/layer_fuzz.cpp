// A layer's archive, from the first byte to the disk that is made of it. Input: the archive.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/unique_fd.h"
#include "container/layer/convert.h"

using namespace hull;

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr uint64_t kMost = uint64_t{4} << 20;
    static const UniqueFd file{memfd_create("disk", MFD_CLOEXEC)};
    if (ftruncate(file.get(), 0) != 0 || lseek(file.get(), 0, SEEK_SET) != 0) {
        std::abort();
    }
    std::span<const std::byte> left = std::as_bytes(std::span{data, size});
    try {
        const uint64_t made = container::convert_layer(
            [&](std::span<std::byte> room) {
                const size_t count = std::min({room.size(), left.size(), size_t{700}});
                std::memcpy(room.data(), left.data(), count);
                left = left.subspan(count);
                return count;
            },
            file.get(), kMost);
        if (made > kMost || static_cast<off_t>(made) != lseek(file.get(), 0, SEEK_END) || !left.empty()) {
            std::abort();
        }
    } catch (const Error& error) {
        if (error.status() != ExitStatus::bad_file) {
            std::abort();
        }
    }
    return 0;
}
