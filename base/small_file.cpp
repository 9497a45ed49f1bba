#include "base/small_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"

namespace hull {

bool write_file(const std::filesystem::path& path, const std::string& text) {
    const UniqueFd file{open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    return file.valid() && write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string read_all(int fd) {
    std::string text;
    std::array<char, 512> part{};
    for (ssize_t got = 0; (got = read(fd, part.data(), part.size())) > 0 || (got < 0 && errno == EINTR);) {
        text.append(part.data(), static_cast<size_t>(got > 0 ? got : 0));
    }
    return text;
}

}  // namespace hull
