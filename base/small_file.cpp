#include "base/small_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "base/unique_fd.h"

namespace hull {

bool write_file(const std::filesystem::path& path, const std::string& text) {
    const UniqueFd file{open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    return file.valid() && write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

void replace_file(const std::filesystem::path& path, std::string_view text) {
    const auto fail = [&](int cause) {
        const bool is_full = cause == ENOSPC || cause == EDQUOT || cause == EMFILE || cause == ENFILE;
        throw Error{is_full ? ExitStatus::no_resources : ExitStatus::bad_file,
                    "cannot write '" + path.string() + "'", errno_text(cause),
                    is_full ? "make room" : "check who may write there"};
    };
    const std::string fresh = path.string() + ".new";
    const UniqueFd file{open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!file.valid()) {
        fail(errno);
    }
    for (size_t done = 0; done < text.size();) {
        const ssize_t written = write(file.get(), text.data() + done, text.size() - done);
        if (written < 0 && errno != EINTR) {
            fail(errno);
        }
        done += static_cast<size_t>(written > 0 ? written : 0);
    }
    if (fsync(file.get()) != 0 || std::rename(fresh.c_str(), path.c_str()) != 0 ||
        !sync_folder(path.parent_path())) {
        fail(errno);
    }
}

bool sync_folder(const std::filesystem::path& folder) {
    const UniqueFd opened{open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    return opened.valid() && fsync(opened.get()) == 0;
}

std::string file_text(const std::filesystem::path& path) {
    constexpr off_t kMost = off_t{64} << 20;
    const UniqueFd file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat status {};
    if (!file.valid() || fstat(file.get(), &status) != 0) {
        throw Error{ExitStatus::bad_file, "cannot read '" + path.string() + "'", errno_text(errno)};
    }
    if (!S_ISREG(status.st_mode) || status.st_size > kMost) {
        throw Error{ExitStatus::bad_file, "cannot read '" + path.string() + "'",
                    "it is no regular file, or is too large"};
    }
    return read_all(file.get());
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
