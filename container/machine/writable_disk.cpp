#include "container/machine/writable_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "vmm/main/helper_process.h"

namespace hull::container {

namespace {

/// Makes the file. Nothing of it is written but what says how large it is: the tables of inodes and the
/// journal are holes, as they are to be, and nobody grows it.
void format(const std::string& path, const std::string& tried, const std::string& features,
            const std::string& size) {
    const std::string said =
        output_of("mke2fs",
                  "PATH=$PATH:/usr/sbin:/sbin; mke2fs -q -F -t ext4 " + features +
                      " -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0 \"$0\" " +
                      size + " >/dev/null 2>&3 && sync \"$0\" || echo failed >&3",
                  path);
    if (!said.empty()) {
        unlink(path.c_str());
        throw Error{ExitStatus::bad_file, tried, "mke2fs says: " + said.substr(0, said.find('\n')),
                    "install e2fsprogs, and give it room"};
    }
}

std::filesystem::path find_or_make(const std::filesystem::path& root, bool has_journal) {
    std::filesystem::path disk = root / (has_journal ? "empty-10G-journal.ext4" : "empty-10G.ext4");
    if (access(disk.c_str(), R_OK) == 0) {
        return disk;
    }
    const std::string tried = "cannot make the disk '" + disk.string() + "'";
    // Whoever is quicker has made the same one.
    const std::string unfinished =
        disk.string() + "." + std::to_string(getpid()) + "." + std::to_string(gettid());
    format(unfinished, tried, has_journal ? "-J size=16 -O ^resize_inode" : "-O ^has_journal,^resize_inode",
           "10G");
    if (std::rename(unfinished.c_str(), disk.c_str()) != 0) {
        const int cause = errno;
        unlink(unfinished.c_str());
        throw Error{ExitStatus::no_resources, tried, errno_text(cause), "check who may write there"};
    }
    return disk;
}

/// What is not written in `from` is not written in `to`, which is empty. 0, or the errno.
int copy_sparsely(int from, int to) {
    struct stat status {};
    if (fstat(from, &status) != 0 || ftruncate(to, status.st_size) != 0) {
        return errno;
    }
    off_t begin = 0;
    while ((begin = lseek(from, begin, SEEK_DATA)) >= 0) {
        const off_t end = lseek(from, begin, SEEK_HOLE);
        off_t target = begin;
        while (begin < end) {
            const ssize_t copied =
                copy_file_range(from, &begin, to, &target, static_cast<size_t>(end - begin), 0);
            if (copied <= 0) {
                return copied < 0 ? errno : EIO;
            }
        }
    }
    return errno == ENXIO ? 0 : errno;  // no data behind that
}

}  // namespace

std::filesystem::path empty_disk(const std::filesystem::path& root) {
    return find_or_make(root, false);
}

void make_disk(const std::filesystem::path& root, const std::filesystem::path& path, bool has_journal) {
    const InputFile from = open_input_file(find_or_make(root, has_journal), "empty disk");
    const UniqueFd to{open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    const int cause = to.valid() ? copy_sparsely(from.fd.get(), to.get()) : errno;
    if (cause != 0) {
        if (to.valid()) {
            unlink(path.c_str());
        }
        throw Error{ExitStatus::no_resources, "cannot make the disk '" + path.string() + "'",
                    errno_text(cause), "make room, and check who may write there"};
    }
}

void make_volume_disk(const std::filesystem::path& path, uint64_t bytes) {
    constexpr unsigned kKibibyte = 10;  // the bits of it
    format(path, "cannot make the disk '" + path.string() + "'", "-b 4096 -O ^resize_inode",
           std::to_string(bytes >> kKibibyte) + "k");
}

}  // namespace hull::container
