// How much memory a monitor takes beside its guest's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace hull::test {

/// Resident KiB of all mappings of a process but those that hold guest memory, which are the ones of 64 MiB
/// and more.
inline uint64_t resident_kib(pid_t process) {
    constexpr uint64_t kGuestMemoryKib = 64 * 1024;
    std::ifstream maps{"/proc/" + std::to_string(process) + "/smaps"};
    uint64_t total = 0;
    uint64_t size = 0;
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words{line};
        std::string key;
        uint64_t kib = 0;
        if (words >> key >> kib) {
            if (key == "Size:") {
                size = kib;
            } else if (key == "Rss:" && size < kGuestMemoryKib) {
                total += kib;
            }
        }
    }
    return total;
}

}  // namespace hull::test
